package scale

import (
	"fmt"
	"strings"
)

// Line is one line of the journal: Decide(Policy, State, Input) gives Decision again, bit for bit.
type Line struct {
	Policy   Policy   `json:"policy"`
	State    State    `json:"state"`
	Input    Input    `json:"input"`
	Decision Decision `json:"decision"`
}

// Words tells where a proposal comes from and what it is made for.
func (p Proposal) Words() string {
	what := map[Why]string{
		WhyMin: "the policy's minimum", WhySteady: "the demand of the last minute", WhySurge: "demand rose in the last seconds",
		WhyGrowth: "demand grows, and will while workers start", WhyWaiting: "requests wait", WhyBacklog: "messages arrive and wait",
		WhyStuck: "consumers take nothing: more would not help", WhySchedule: "it is time", WhyAnnounced: "announced",
		WhyHistory: "usual at this time", WhyTrend: "its growth before metrics were lost", WhyReturn: "what may come back at once",
		WhyDoubt: "one absurd sample, bounded until a second one", WhyBlindMax: "no metrics",
	}[p.Why]
	if p.Demand > 0 {
		return fmt.Sprintf("%s: %s, %.1f Erlangs", p.Source, what, p.Demand)
	}
	return fmt.Sprintf("%s: %s", p.Source, what)
}

// Words tells a decision in one line: "12 to 15 workers: signal requests: …; limited by …".
func (d Decision) Words() string {
	var b strings.Builder
	if d.Size == d.From {
		fmt.Fprintf(&b, "%d workers stay (%s)", d.Size, d.Reason)
	} else {
		fmt.Fprintf(&b, "%d to %d workers (%s)", d.From, d.Size, d.Reason)
	}
	if len(d.Proposals) > 0 {
		fmt.Fprintf(&b, ": %s wants %d", d.Proposals[0].Words(), d.Proposals[0].Size)
	}
	for _, l := range d.Limits {
		fmt.Fprintf(&b, "; %s: %d becomes %d", l.Code, l.From, l.To)
	}
	for _, a := range d.Alarms {
		fmt.Fprintf(&b, "; alarm %s", a.Code)
		if a.Missing > 0 {
			fmt.Fprintf(&b, " (%d missing)", a.Missing)
		}
		if a.Code == AlarmUnknown {
			b.WriteString(": how long a request takes was never seen, so what was announced asks for nothing")
		}
	}
	return b.String()
}
