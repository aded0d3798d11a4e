// Package monitor reads once a second what the services of this node do: mark
// files of workers, the stats of uwsgi, the listen queue of their port, CPU and
// memory of their containers and of the node. It decides nothing and waits for
// nobody: what cannot be read at once is missing from this reading.
//
// What containers hold is untrusted: it is opened below their root and never
// through a link, bounded, and checked.
package monitor

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"svckit/lib/fleet"
	"svckit/lib/proc"
	"svckit/lib/sample"
	"svckit/lib/spec"
)

// Target is a running container of ours, and what is known of it.
type Target struct {
	Instance fleet.Instance
	Known    bool         // its spec could be read; else Service is empty
	Service  spec.Service //
	Master   fleet.Master // PID 0: it has none, or none was found
	Stats    string       // where its uwsgi serves stats, in the container; "" nowhere
}

// name is app/service.
func (t Target) name() string { return t.Instance.App + "/" + t.Instance.Service }

// Stats asks the uwsgi of a container for its stats.
type Stats func(ctx context.Context, t Target) (fleet.Served, error)

// Monitor remembers what does not change from one second to the next. It is not
// safe for concurrent use.
type Monitor struct {
	stats  Stats
	fs     procfs.FS
	groups cgroups
	known  map[string]*seen // container id → what was learned of it
	round  int

	Swept int // marks that were removed since the start, because their process was gone
}

// seen is what was learned of one container.
type seen struct {
	round   int    // when it was last looked at
	pid     int    // of the node: the process that stands for the container
	start   uint64 // of that process
	group   group
	memory  int64
	workers map[int]worker // by pid of the node
	sockets *diag
	broken  int    // rounds until its stats are asked for again
	why     string // it broke
}

// worker is a child of a master.
type worker struct {
	inner int // pid in the container
	start uint64
}

// Open finds out how this node tells of its containers.
func Open(stats Stats) (*Monitor, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return nil, fmt.Errorf("open /proc: %w", err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find cgroups: %w", err)
	}
	return &Monitor{stats: stats, fs: fs, groups: findCgroups(string(mounts)), known: map[string]*seen{}}, nil
}

// Clock is the kernel's clock that never jumps, the one of mark files.
func Clock() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0 // it cannot fail with a known clock
	}
	return time.Duration(ts.Nano())
}

// Read reads the node and these containers, which are in the order of their
// creation. lost are the ids of those that are not what they were: look for them again.
func (m *Monitor) Read(ctx context.Context, at time.Time, targets []Target) (r sample.Reading, lost []string) {
	m.round++
	served := m.ask(ctx, targets)
	r = sample.Reading{At: at, Mono: Clock()} // what follows takes milliseconds
	var err error
	if r.Node, err = machine(m.fs); err != nil {
		r.Node = sample.Node{}
	}
	of := map[string]int{}
	for k, t := range targets {
		n, there := of[t.name()]
		if !there {
			n = len(r.Services)
			of[t.name()] = n
			r.Services = append(r.Services, sample.Service{Name: t.name()})
		}
		s := &r.Services[n]
		i, problems, gone := m.instance(t, served[k])
		if gone {
			lost = append(lost, t.Instance.ID)
		}
		if s.Release != "" && s.Release != t.Instance.Release {
			s.Settling = fmt.Sprintf("releases %s and %s run side by side", s.Release, t.Instance.Release)
		}
		s.Release = t.Instance.Release
		s.Instances = append(s.Instances, i)
		for _, p := range problems {
			s.Errors = append(s.Errors, t.Instance.Name+": "+p)
		}
	}
	for id, s := range m.known {
		if s.round != m.round {
			m.forget(id)
		}
	}
	sortServices(r.Services)
	return r, lost
}

// answer is what a uwsgi said.
type answer struct {
	fleet.Served
	asked bool
	rests bool // it did not answer a while ago
	err   error
}

// Limits of asking servers for their stats.
const (
	statsLimit  = 500 * time.Millisecond
	statsAtOnce = 16
	statsRest   = 10 // rounds for which a server that did not answer is left alone
)

// ask asks all servers with stats at once.
func (m *Monitor) ask(ctx context.Context, targets []Target) []answer {
	out := make([]answer, len(targets))
	ctx, cancel := context.WithTimeout(ctx, statsLimit)
	defer cancel()
	var all errgroup.Group
	all.SetLimit(statsAtOnce)
	for k, t := range targets {
		s := m.known[t.Instance.ID]
		if t.Stats == "" || m.stats == nil {
			continue
		}
		out[k].asked = true
		if s != nil && s.broken > 0 {
			s.broken--
			out[k].rests = true
			out[k].err = fmt.Errorf("stats of uwsgi: %s", s.why)
			continue
		}
		all.Go(func() error {
			out[k].Served, out[k].err = m.stats(ctx, t)
			return nil
		})
	}
	_ = all.Wait() // each error is in its answer
	return out
}

// instance reads one container.
func (m *Monitor) instance(t Target, a answer) (out sample.Instance, problems []string, lost bool) {
	i := t.Instance
	out = sample.Instance{ID: i.ID, Release: i.Release}
	missing := func(format string, args ...any) (sample.Instance, []string, bool) {
		out.Missing = true
		return out, append(problems, fmt.Sprintf(format, args...)), lost
	}
	s, err := m.learn(t)
	if err != nil {
		lost = true
		return missing("%v", err)
	}
	m.use(s, &out, &problems)
	var port listening
	if t.Service.Port > 0 {
		if port, err = s.listening(t.Service.Port); err != nil {
			return missing("%v", err)
		}
	}
	var children []worker
	if t.Known && t.Service.Master != spec.NoMaster {
		if t.Master.PID == 0 {
			return missing("its %s is not found", t.Service.Master)
		}
		if children, err = s.children(); err != nil {
			return missing("list its workers: %v", err)
		}
	}
	p, err := openPlace(s.pid)
	if err != nil {
		return missing("%v", err)
	}
	defer p.close()
	marks, err := p.marks(living(children))
	if err != nil {
		out.Missing = true
		problems = append(problems, err.Error())
	}
	m.Swept += marks.swept
	problems = append(problems, marks.problems...)
	if len(marks.problems) > 0 {
		out.Missing = true
	}
	if a.asked && a.err != nil && !a.rests {
		s.broken, s.why = statsRest, a.err.Error()
		a.err = fmt.Errorf("stats of uwsgi: %w", a.err)
	}
	if a.asked && a.err != nil {
		problems = append(problems, a.err.Error())
	}
	traffic(&out, t, s, marks, a, port)
	serving(&out, t, marks, a, port, children)
	if !t.Known {
		problems = append(problems, "the spec of release "+i.Release+" is not known yet")
	}
	return out, problems, false
}

// learn finds out what does not change, and whether the process is still the one it was.
func (m *Monitor) learn(t Target) (*seen, error) {
	pid := t.Instance.PID
	if t.Master.PID > 0 {
		pid = t.Master.PID
	}
	if pid <= 0 {
		return nil, fmt.Errorf("it has no process")
	}
	now, err := proc.Of(pid)
	if err != nil {
		return nil, fmt.Errorf("look at process %d: %w", pid, err)
	}
	s := m.known[t.Instance.ID]
	if s == nil || s.pid != pid {
		text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
		if err != nil {
			return nil, fmt.Errorf("find its cgroup: %w", err)
		}
		m.forget(t.Instance.ID)
		s = &seen{pid: pid, start: now.Start, workers: map[int]worker{}}
		if t.Master.PID > 0 && t.Master.Started != 0 {
			s.start = t.Master.Started
		}
		s.group, _ = m.groups.groupOf(string(text)) // without one its use is not known
		m.known[t.Instance.ID] = s
	}
	s.round = m.round
	if now.Dead || now.Start != s.start {
		m.forget(t.Instance.ID)
		return nil, fmt.Errorf("process %d is another one now", pid)
	}
	return s, nil
}

// forget drops what was learned of a container, and lets its network go.
func (m *Monitor) forget(id string) {
	if s := m.known[id]; s != nil {
		s.sockets.close()
		delete(m.known, id)
	}
}

// listening asks who listens on a port of the container.
func (s *seen) listening(port int) (out listening, err error) {
	if s.sockets == nil {
		if s.sockets, err = openDiag(s.pid); err != nil {
			return listening{}, err
		}
	}
	if out, err = s.sockets.listening(port); err != nil {
		s.sockets.close()
		s.sockets = nil
	}
	return out, err
}

// memoryEvery is how many rounds pass between two looks at memory: it moves slowly and costs most.
const memoryEvery = 5

func (m *Monitor) use(s *seen, out *sample.Instance, problems *[]string) {
	if s.group == (group{}) {
		*problems = append(*problems, "its cgroup is not found: CPU and memory are not known")
		return
	}
	cpu, err := s.group.cpu()
	if err == nil && (s.memory == 0 || (m.round+s.pid)%memoryEvery == 0) {
		s.memory, err = s.group.memory()
	}
	if err != nil {
		*problems = append(*problems, "read its cgroup: "+err.Error())
		return
	}
	out.Used, out.CPU, out.MemoryIn = true, cpu, s.memory
}
