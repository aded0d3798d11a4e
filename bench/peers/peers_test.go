package peers

import (
	"testing"

	"svckit/lib/simulate"
)

// tape plays a peer on a service whose busy workers are known by hand: constant
// requests of 0.1 s, on far more workers than it needs, so none wait.
func tape(t *testing.T, name string, erlangs float64, initial, seconds int) (sizes []int) {
	t.Helper()
	trace := &simulate.Trace{Name: "tape", RPS: make([]float64, seconds), Service: make([]float64, seconds)}
	for s := range trace.RPS {
		trace.RPS[s], trace.Service[s] = erlangs*10, 0.1
	}
	found, err := Find(name)
	if err != nil {
		t.Fatal(err)
	}
	peer := found[0].New(World{Trace: trace, Service: 0.1, StartUp: 15})
	simulate.Run(simulate.Draw(trace, 1), simulate.Setup{Initial: initial}, peer, func(s simulate.Second) { sizes = append(sizes, s.Want) })
	return sizes
}

func near(got, want, by int) bool { return got >= want-by && got <= want+by }

func TestEachPeerGoesToTheSizeOfItsFormula(t *testing.T) {
	for _, row := range []struct {
		name    string
		erlangs float64
		initial int
		want    int // by hand, from its formula
	}{
		{"hpa", 40, 100, 50},            // ceil(100 × 0.40/0.80)
		{"hpa-tuned", 40, 100, 73},      // ceil(100 × 0.40/0.55)
		{"kpa", 40, 100, 58},            // ceil(40/0.7)
		{"nomad", 40, 100, 58},          // ceil(100 × 0.40/0.70)
		{"keda-rps", 40, 100, 58},       // ceil(400/7)
		{"keda-rps-tuned", 40, 100, 73}, // ceil(400/5.5)
		{"aws", 40, 100, 64},            // until not below 90 % of the target: 40/0.63
		{"dae", 40, 100, 67},            // ceil(40/0.6)
		{"static", 40, 100, 52},         // ceil(40 × 1.3)
	} {
		sizes := tape(t, row.name, row.erlangs, row.initial, 5400)
		if got := sizes[len(sizes)-1]; !near(got, row.want, 7) {
			t.Errorf("%s: %d workers, expected %d", row.name, got, row.want)
		}
	}
}

func TestTheTimingOfEachPeerIsItsOwn(t *testing.T) {
	// With 20 Erlangs on 100 workers everybody wants less; when is what differs.
	firstChange := func(name string, erlangs float64) int {
		sizes := tape(t, name, erlangs, 100, 1000)
		for s, n := range sizes {
			if n != 100 {
				return s + 1
			}
		}
		return 0
	}
	for _, row := range []struct {
		name    string
		erlangs float64
		low     int
		high    int
	}{
		{"hpa", 20, 15, 300},            // the first recommendation counts: stabilisation begins with it
		{"aws", 95, 180, 180},           // three points of a minute
		{"aws", 20, 900, 900},           // fifteen of them
		{"nomad", 20, 10, 10},           // the first evaluation
		{"dae", 20, 300, 300},           // its cycle
		{"kpa", 20, 2, 2},               // its tick
		{"nomad-threshold", 20, 50, 60}, // five points of ten seconds
	} {
		if at := firstChange(row.name, row.erlangs); at < row.low || at > row.high+1 {
			t.Errorf("%s at %v Erlangs: first change after %d s, expected %d to %d", row.name, row.erlangs, at, row.low, row.high)
		}
	}
	sizes := tape(t, "nomad", 20, 100, 1000)
	second := 0
	for s := 12; s < len(sizes); s++ {
		if sizes[s] != sizes[11] {
			second = s + 1
			break
		}
	}
	if second != 0 && second < 310 {
		t.Errorf("nomad acted again after %d s, within its cooldown", second)
	}
}

func TestRatesAndToleranceOfTheHPA(t *testing.T) {
	h := &hpa{target: 0.8, sync: 15, tolerance: 0.1, stabilise: 300, downShare: 1}
	v := &simulate.View{At: 15, Size: 4, Ready: 4, Metrics: true}
	if n := h.behave(v, 50); n != 8 {
		t.Errorf("from 4 towards 50: %d, expected max(2 × 4, 4 + 4)", n)
	}
	v.Size = 20
	if n := h.behave(v, 50); n != 40 {
		t.Errorf("from 20 towards 50: %d, expected 2 × 20", n)
	}
	h.recent = nil
	v.Size, v.At = 40, 1000
	if n := h.behave(v, 40); n != 40 {
		t.Errorf("stay: %d", n)
	}
	v.At = 1200
	if n := h.behave(v, 10); n != 40 {
		t.Errorf("200 s after a recommendation of 40: %d, expected 40", n)
	}
	v.At = 1301
	if n := h.behave(v, 10); n != 10 {
		t.Errorf("301 s after it: %d, expected 10", n)
	}
}

func TestMissingMetricsDoToEachPeerWhatItsUsersReport(t *testing.T) {
	seconds := 3600
	trace := &simulate.Trace{RPS: make([]float64, seconds), Service: make([]float64, seconds), Metrics: make([]bool, seconds)}
	for s := range trace.RPS {
		trace.RPS[s], trace.Service[s], trace.Metrics[s] = 400, 0.1, s < 1200
	}
	w := simulate.Draw(trace, 1)
	end := func(name string) int {
		found, err := Find(name)
		if err != nil {
			t.Fatal(err)
		}
		last := 0
		simulate.Run(w, simulate.Setup{Initial: 57}, found[0].New(World{Trace: trace, Service: 0.1}), func(s simulate.Second) { last = s.Want })
		return last
	}
	if n := end("keda-rps"); n != 1 {
		t.Errorf("KEDA takes null as 0: %d workers, expected 1", n)
	}
	for _, name := range []string{"keda-rps-null", "hpa", "aws", "nomad", "kpa"} {
		if n := end(name); n < 40 {
			t.Errorf("%s does nothing without metrics: %d workers", name, n)
		}
	}
}

func TestStuckConsumersLookEmptyToKEDAsDrainTime(t *testing.T) {
	seconds := 1800
	trace := &simulate.Trace{RPS: make([]float64, seconds), Service: make([]float64, seconds), QueueIn: make([]float64, seconds), Stuck: make([]bool, seconds)}
	for s := range trace.RPS {
		trace.QueueIn[s], trace.Service[s], trace.Stuck[s] = 50, 0.2, s >= 600
	}
	found, err := Find("keda-drain")
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	simulate.Run(simulate.Draw(trace, 1), simulate.Setup{Initial: 10}, found[0].New(World{Trace: trace, Service: 0.2}), func(s simulate.Second) { last = s.Want })
	if last != 1 {
		t.Errorf("%d consumers, expected 1", last)
	}
}

func TestPeersAreFoundByTheirFamily(t *testing.T) {
	found, err := Find("aws-tuned")
	if err != nil || len(found) != 1 {
		t.Errorf("%v, %v", found, err)
	}
	if found, err = Find("keda"); err != nil || len(found) != 6 {
		t.Errorf("%d of KEDA, %v", len(found), err)
	}
	if _, err = Find("yarn"); err == nil {
		t.Error("yarn was found")
	}
}
