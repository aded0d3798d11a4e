package main

import (
	"context"
	"sync"
	"time"
	_ "time/tzdata" // zones of schedules, also where the machine has none

	"svckit/lib/here"
	"svckit/lib/nodeagent"
	"svckit/lib/notify"
	"svckit/lib/timetable"
	"svckit/lib/tool"
)

// timed gives an agent the timetable of its node, which runs beside it.
func timed(ctx context.Context, w *here.Node, s *tool.Session, a *nodeagent.Agent) error {
	queue := notify.New(s.Program).Queue(s.Log)
	c, err := here.OpenCrons(ctx, w, s, queue.Put)
	if err != nil {
		return err
	}
	a.Beside = append(a.Beside, func(ctx context.Context) error {
		sending, stop := context.WithCancel(context.WithoutCancel(ctx))
		var beside sync.WaitGroup
		beside.Go(func() { queue.Run(sending) })
		defer beside.Wait()
		defer stop()
		for err := c.Know(ctx); err != nil; err = c.Know(ctx) { // who it is, its agent says: until then it runs nothing
			s.Log.Debug("this node's name and pool are not known yet", "error", err)
			if !pause(ctx, 5*time.Second) {
				return ctx.Err()
			}
		}
		return timetable.New(timetable.Config{Site: c.Site(), Services: c.Services, Frozen: c.Frozen}).Run(ctx)
	})
	return nil
}
