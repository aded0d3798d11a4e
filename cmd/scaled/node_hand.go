package main

import (
	"context"

	"svckit/lib/fleet"
	"svckit/lib/hand"
	"svckit/lib/here"
	"svckit/lib/nodeagent"
	"svckit/lib/sample"
	"svckit/lib/tool"
)

// handed gives an agent a hand, which runs beside it and lives on its samples.
func handed(ctx context.Context, w *here.Node, s *tool.Session, a *nodeagent.Agent) error {
	h, err := here.OpenHand(ctx, w, s, func() (fleet.Sample, bool) {
		now := a.Sample()
		return now, now.At > 0
	})
	if err != nil {
		return err
	}
	a.Hand, a.Beat = acting{h.Hand}, h.Beat
	a.Beside = append(a.Beside, h.Run)
	return nil
}

// acting is the hand in the words of package nodeagent.
type acting struct{ *hand.Hand }

// Applied is the wish in force.
func (a acting) Applied() sample.Applied {
	epoch, gen := a.Hand.Applied()
	return sample.Applied{Epoch: epoch, Gen: gen}
}

// before is what this node was called when it last ran: with it a start needs no
// Consul. "" when that is not known.
func before(ctx context.Context, w *here.Node, s *tool.Session, state string) fleet.Agent {
	last, err := hand.Remembered(state)
	if err != nil || last.Node == "" {
		return fleet.Agent{}
	}
	engine, err := w.Docker(ctx, s)
	if err != nil {
		return fleet.Agent{}
	}
	agent, err := here.LastAgent(ctx, engine)
	if err != nil || agent.Node != last.Node {
		return fleet.Agent{}
	}
	return agent
}
