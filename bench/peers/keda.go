package peers

import (
	"math"

	"svckit/lib/simulate"
)

// keda feeds an external metric with an average value to an HPA: want =
// ceil(value/target), 10 % tolerance, the HPA's rates and stabilisation. The
// HPA reads every 15 s. A missing value is 0 unless ignoreNullValues is false,
// when it is an error and nothing happens.
type keda struct {
	hpa    hpa
	target float64 // of the value, per worker
	value  func(v *simulate.View) float64
	null   bool // a missing value is 0: the default
}

func kedaPeers() []Peer {
	base := hpa{sync: 15, tolerance: 0.10, stabilise: 300, downShare: 1}
	rps := func(v *simulate.View) float64 { return v.Arrived(0, 60) } // rate(…[1m])
	length := func(v *simulate.View) float64 { return float64(v.Waiting + v.Busy) }
	web := func(null bool, busy float64) func(World) simulate.Controller {
		return func(w World) simulate.Controller {
			return &keda{hpa: base, target: busy / w.Service, value: rps, null: null}
		}
	}
	return []Peer{
		{Name: "keda-rps", Web: true, About: "KEDA prometheus, requests per second for 70 % busy, nulls are 0: defaults", New: web(true, 0.7)},
		{Name: "keda-rps-null", Web: true, About: "the same with ignoreNullValues: false", New: web(false, 0.7)},
		{Name: "keda-rps-tuned", Web: true, About: "the same for 55 % busy", New: web(false, 0.55)},
		{Name: "keda-length", Queue: true, About: "KEDA rabbitmq QueueLength 20: defaults", New: func(World) simulate.Controller {
			return &keda{hpa: base, target: 20, value: length, null: true}
		}},
		{Name: "keda-rate", Queue: true, About: "KEDA rabbitmq MessageRate for 80 % busy", New: func(w World) simulate.Controller {
			return &keda{hpa: base, target: 0.8 / w.Service, value: rps}
		}},
		{Name: "keda-drain", Queue: true, About: "KEDA rabbitmq ExpectedQueueConsumptionTime 60 s", New: func(World) simulate.Controller {
			return &kedaDrain{hpa: base, target: 60}
		}},
	}
}

func (k *keda) Every() int { return k.hpa.sync }

func (k *keda) Decide(v *simulate.View) int {
	value := 0.0
	switch {
	case v.Metrics:
		value = k.value(v)
	case !k.null:
		return v.Size
	}
	want := ceil(value / k.target)
	if v.Size > 0 && math.Abs(value/(k.target*float64(v.Size))-1) <= k.hpa.tolerance {
		want = v.Size
	}
	return capped(k.hpa.behave(v, want), v)
}

// kedaDrain is the mode ExpectedQueueConsumptionTime: (in − out)/out + length/out
// seconds. With nothing delivered while messages wait it reports the activation
// value, 0: stuck consumers look like an empty queue. The HPA multiplies: the
// value is for the whole queue.
type kedaDrain struct {
	hpa    hpa
	target float64 // seconds
}

func (k *kedaDrain) Every() int { return k.hpa.sync }

func (k *kedaDrain) Decide(v *simulate.View) int {
	if !v.Metrics {
		return v.Size
	}
	in, out := v.Arrived(0, 60), v.Done(0, 60)
	value := 0.0
	if out > 0 {
		value = (in-out)/out + float64(v.Waiting)/out
	}
	ratio := value / k.target
	want := ceil(float64(max(v.Size, 1)) * ratio)
	if math.Abs(ratio-1) <= k.hpa.tolerance {
		want = v.Size
	}
	return capped(k.hpa.behave(v, want), v)
}
