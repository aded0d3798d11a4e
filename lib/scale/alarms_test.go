package scale

import (
	"testing"
	"time"
)

func TestWorkersThatDoNotComeAreMissed(t *testing.T) {
	s := start(t, policy(), 20)
	there := s.in.Size
	s.demand = 60
	s.edit = func(in *Input) { in.Ready, in.Starting = there, in.Size-there }
	s.run(time.Minute)
	if s.alarm(AlarmStuck) {
		t.Errorf("already after a minute: %s", s.last.Words())
	}
	s.run(time.Minute)
	missing := 0
	for _, a := range s.last.Alarms {
		if a.Code == AlarmStuck {
			missing = a.Missing
		}
	}
	if missing != s.in.Size-there {
		t.Errorf("%d missing, expected %d: %s", missing, s.in.Size-there, s.last.Words())
	}
	// What never comes does not keep the service large.
	s.demand = 20
	s.run(40 * time.Minute)
	s.size(24, 29, "with workers that start for ever")
}

func TestPoolsWithoutRoomSayHowManyAreMissing(t *testing.T) {
	s := start(t, policy(), 20)
	s.edit = func(in *Input) { in.Capacity = 40 }
	s.demand = 60
	s.tick()
	s.size(40, 40, "all the room there is")
	if len(s.last.Alarms) != 1 || s.last.Alarms[0].Code != AlarmCapacity || s.last.Alarms[0].Missing < 24 {
		t.Errorf("alarms %v", s.last.Alarms)
	}
	if s.last.Wish < 64 || s.last.Floor < 20 || s.last.Floor > s.last.Wish {
		t.Errorf("wish %d, floor %d", s.last.Wish, s.last.Floor)
	}
}

func TestMoreWorkersThatServeNoMoreAreNoticed(t *testing.T) {
	s := start(t, policy(), 20)
	// A database serves 100 requests a second at most: all workers wait for it.
	s.edit = func(in *Input) {
		l := in.Signals[0].Load
		n := float64(in.Ready)
		l.Rate1, l.Rate10, l.Rate60 = 150, 150, 150
		l.Done10, l.Done60 = 100, 100
		l.Busy, l.Busy10, l.Busy60, l.Waiting = n, n, n, 200
	}
	s.p.Max = 0
	s.run(5 * time.Minute)
	size := s.in.Size
	s.run(2 * time.Minute)
	s.size(size, size, "when it was seen not to help")
	if !s.alarm(AlarmNoHelp) {
		t.Errorf("%s; %+v", s.last.Words(), s.s.Effect)
	}
}

func TestMarksThatLeakAreNoticed(t *testing.T) {
	s := start(t, policy(), 20)
	s.edit = func(in *Input) { in.Signals[0].Load.Busy = 200 }
	s.tick()
	if !s.alarm(AlarmLeak) {
		t.Errorf("%s", s.last.Words())
	}
}

func queuePolicy() Policy {
	p := policy()
	p.Strategy, p.Wait, p.WaitOver, p.Min, p.Drain = Queue, 0, 0, 1, 90*time.Second
	return p
}

// queue is a queue in a test.
type queue struct {
	*service
	in, waiting float64
	stuck       bool
}

func startQueue(t *testing.T, p Policy, rate float64) *queue {
	q := &queue{service: &service{t: t, p: p}, in: rate}
	q.service.in = Input{At: noon, Size: int(rate*0.2/0.85) + 1}
	q.edit = func(in *Input) {
		out := min(q.in+q.waiting/5, float64(in.Ready)/0.2)
		unacked := out * 0.2
		if q.stuck {
			out, unacked = 0, float64(in.Ready)
		}
		q.waiting = max(0, q.waiting+(q.in-out)*5)
		in.Signals = []Signal{{Name: "mail", At: in.At, Coverage: 1, Backlog: &Backlog{
			Ready: q.waiting, Unacked: unacked, In10: q.in, In60: q.in, Out10: out, Out60: out,
		}}}
	}
	q.run(10 * time.Minute)
	return q
}

func TestABacklogIsWorkedOffInItsTime(t *testing.T) {
	q := startQueue(t, queuePolicy(), 50)
	q.size(10, 14, "steady: 10 Erlangs")
	q.waiting += 20000
	q.tick()
	q.size(40, 65, "20,000 messages of 0.2 s in 90 s")
	q.run(3 * time.Minute)
	if q.waiting > 500 {
		t.Errorf("%v messages are left", q.waiting)
	}
	q.run(20 * time.Minute)
	q.size(10, 14, "afterwards")
}

func TestStuckConsumersAreNotMultiplied(t *testing.T) {
	q := startQueue(t, queuePolicy(), 50)
	before := q.service.in.Size
	q.stuck = true
	q.run(10 * time.Minute)
	q.size(before, before+before, "stuck")
	if !q.alarm(AlarmConsumers) {
		t.Errorf("%s", q.last.Words())
	}
	size := q.service.in.Size
	q.stuck = false
	q.run(20 * time.Second)
	q.size(size+30, 200, "when they work again")
}

func TestAConsumerWithAMessageIsNotTakenAway(t *testing.T) {
	q := startQueue(t, queuePolicy(), 100)
	before := q.service.in.Size
	q.in = 1
	edit := q.edit
	q.edit = func(in *Input) {
		edit(in)
		in.Signals[0].Backlog.Unacked = 17 // long messages
		in.Signals[0].Backlog.Service = 0.2
	}
	q.run(2 * time.Hour)
	q.size(17, 17, "with 17 messages in work")
	if before < 20 {
		t.Errorf("was %d before", before)
	}
}

func TestAServiceThatSurvivesANodeHasEnoughWithoutIt(t *testing.T) {
	for _, row := range []struct {
		survive      string
		nodes, zones int
		low, high    int
	}{{"none", 2, 1, 45, 47}, {"node", 2, 1, 84, 92}, {"node", 8, 1, 49, 54}, {"zone", 8, 3, 63, 69}, {"node", 0, 0, 45, 47}} {
		p := policy()
		p.Survive = row.survive
		s := &service{t: t, p: p, demand: 40, time: 0.2, in: Input{At: noon, Size: 45}}
		s.edit = func(in *Input) { in.Nodes, in.Zones = row.nodes, row.zones }
		s.run(5 * time.Minute)
		s.size(row.low, row.high, row.survive)
	}
}
