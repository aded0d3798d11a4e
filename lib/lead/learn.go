package lead

import (
	"encoding/json"
	"fmt"
	"time"

	"svckit/lib/planner"
	"svckit/lib/scale"
)

// learned is what is known of the demand of one service on this and earlier days.
type learned struct {
	History scale.History `json:"history"`
	Learner scale.Learner `json:"learner"`

	fresh bool // the next planner would not find all of it
}

func (l *learned) expect(now time.Time, startUp time.Duration) scale.Expected {
	return l.Learner.Expect(&l.History, now.Unix(), startUp)
}

// learn takes the demand of a decision that was made with all its signals.
func (p *Planner) learn(name string, at time.Time, s planner.Sized) {
	if s.Decision.Blind > 0 || len(s.Input.Signals) == 0 {
		return
	}
	l := p.of(name)
	l.Learner.See(at.Unix(), s.Decision.Demand)
	l.fresh = true
	l.Learner.Settle(&l.History)
}

func (p *Planner) of(name string) *learned {
	if p.learned == nil {
		p.learned = map[string]*learned{}
	}
	if p.learned[name] == nil {
		p.learned[name] = &learned{}
	}
	return p.learned[name]
}

// Learned is what was learned of the demand of all services, to be kept and
// given to Recall by the next process.
func (p *Planner) Learned() ([]byte, error) { return json.Marshal(p.learned) }

// maxLearned bounds the services of which something may be remembered.
const maxLearned = 50_000

// Recall takes up what was learned before.
func (p *Planner) Recall(text []byte) error {
	var all map[string]*learned
	if err := json.Unmarshal(text, &all); err != nil {
		return fmt.Errorf("read what was learned of demand: %w", err)
	}
	if len(all) > maxLearned {
		return fmt.Errorf("read what was learned of demand: %d services are more than %d", len(all), maxLearned)
	}
	p.learned = map[string]*learned{}
	for name, l := range all {
		if l != nil && l.Learner.Sound() && l.History.Sound() {
			p.learned[name], l.fresh = l, true
		}
	}
	return nil
}
