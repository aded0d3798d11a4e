package wish

import (
	"fmt"
	"math/rand/v2"

	"svckit/lib/fleet"
)

// configured is how many workers a new container of the model begins with.
const configured = 2

// model is one service on a node that does what a step says.
type model struct {
	containers []Container
	made       int
}

func (m *model) service() Service { return Service{Containers: m.containers} }

// scatter puts a service into a state that anything may have left.
func scatter(r *rand.Rand) *model {
	m := &model{}
	for range r.IntN(5) {
		m.start()
		c := &m.containers[len(m.containers)-1]
		c.State = []fleet.State{fleet.Running, fleet.Running, fleet.Running, fleet.Exited, fleet.Created, fleet.Dead}[r.IntN(6)]
		c.Workers = 1 + r.IntN(8)
		if r.IntN(4) == 0 || c.State != fleet.Running {
			c.Entry = ""
		}
		if c.State != fleet.Running {
			c.Workers = 0
		}
		c.Weight = r.IntN(10)
	}
	return m
}

func (m *model) start() {
	m.made++
	id := fmt.Sprintf("c%d", m.made)
	m.containers = append(m.containers, Container{
		Name: id, ID: id, State: fleet.Running, Workers: configured, Entry: "r" + id, Weight: configured, Health: fleet.Passing,
	})
}

// do carries out one step, as package hand would.
func (m *model) do(s Step) {
	switch s.Action {
	case Leave:
		m.containers = nil
	case Deploy:
		m.deploy(s.To)
	case Wake:
		for k := range m.containers {
			if c := &m.containers[k]; c.State == fleet.Exited || c.State == fleet.Dead {
				c.State, c.Workers = fleet.Running, configured
			}
		}
	case Raise, Lower, Weigh:
		for k := range m.containers {
			c := &m.containers[k]
			switch {
			case c.ID != s.ID:
			case s.Action == Weigh:
				c.Weight = s.To
			default:
				c.Workers = s.To
			}
		}
	}
}

func (m *model) deploy(to int) {
	var keep []Container
	for _, c := range m.containers {
		if c.State == fleet.Running && len(keep) < to {
			if c.Entry == "" {
				c.Entry, c.Weight = "r"+c.ID, c.Workers
			}
			keep = append(keep, c)
		}
	}
	m.containers = keep
	for len(m.containers) < to {
		m.start()
	}
}

func (m *model) running() (containers, workers int) {
	for _, c := range m.containers {
		if c.State == fleet.Running {
			containers, workers = containers+1, workers+c.Workers
		}
	}
	return containers, workers
}
