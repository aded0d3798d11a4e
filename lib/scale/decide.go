package scale

func decide(p Policy, s State, in Input) (Decision, State) {
	return Decision{At: in.At, From: in.Size, Size: max(in.Size, p.Min), Reason: Keep, Act: true}, s
}

func fleet(s FleetState, _ FleetInput) (FleetVerdict, FleetState) { return FleetVerdict{}, s }

func pass(s PassState, _ int64, _ []Candidate, _ []PoolHealth) ([]Outcome, [2]FleetVerdict, PassState) {
	return nil, [2]FleetVerdict{}, s
}
