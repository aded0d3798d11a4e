package lead

import (
	"time"

	"svckit/lib/planner"
	"svckit/lib/scale"
)

// learned is what is known of the demand of one service on this and earlier days.
type learned struct {
	History scale.History `json:"history"`
	Learner scale.Learner `json:"learner"`
}

func (l *learned) expect(now time.Time, startUp time.Duration) scale.Expected {
	return l.Learner.Expect(&l.History, now.Unix(), startUp)
}

// learn takes the demand of a decision that was made with all its signals.
func (p *Planner) learn(name string, at time.Time, s planner.Sized) {
	if s.Decision.Blind > 0 || len(s.Input.Signals) == 0 {
		return
	}
	l := p.learned[name]
	if l == nil {
		l = &learned{}
		p.learned[name] = l
	}
	l.Learner.See(at.Unix(), s.Decision.Demand)
	l.Learner.Settle(&l.History)
}
