package here

import (
	"context"
	"sync"

	"svckit/lib/fleet"
	"svckit/lib/hand"
	"svckit/lib/notify"
	"svckit/lib/tool"
)

// Acting is the hand of this node with all that it needs.
type Acting struct {
	*hand.Hand
	queue *notify.Queue
}

// OpenHand opens the hand of this node; Run sets it to work. sample is the newest
// sample of the node's monitor, on which the fast lane lives; nil: there is none.
func OpenHand(ctx context.Context, w *Node, s *tool.Session, sample func() (fleet.Sample, bool)) (*Acting, error) {
	queue := notify.New(s.Program).Queue(s.Log)
	t, err := OpenTender(ctx, w, s, queue.Put)
	if err != nil {
		return nil, err
	}
	return &Acting{queue: queue, Hand: hand.New(hand.Config{
		Name: t.name, Source: leasing{t.consul, t}, Node: t, Sample: sample, State: t.settings.StateDir, Log: s.Log.Named("hand"),
	})}, nil
}

// Run works until ctx ends and what is being done then was ended or taken back.
func (a *Acting) Run(ctx context.Context) error {
	sending, stop := context.WithCancel(context.WithoutCancel(ctx))
	var beside sync.WaitGroup
	beside.Go(func() { a.queue.Run(sending) })
	err := a.Hand.Run(ctx)
	stop() // what waits is sent, for a few seconds
	beside.Wait()
	return err
}
