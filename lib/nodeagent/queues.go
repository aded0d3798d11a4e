package nodeagent

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"svckit/lib/monitor"
	"svckit/lib/sample"
	"svckit/lib/spec"
)

// OpenQueue opens the queue of a service. Its error names no credentials.
type OpenQueue func(ctx context.Context, s spec.Service) (Queue, error)

// Queue is a queue that can be read.
type Queue interface {
	// Read reads it once. Mono is filled in by the caller.
	Read(ctx context.Context) (sample.Queue, error)
	// Every is how often its server has something new to tell.
	Every() time.Duration
	Close() error
}

// How queues are read.
const (
	queueLook  = 2 * time.Second  // which there are
	queueLimit = 3 * time.Second  // of one question
	queueOpen  = time.Minute      // before it is opened anew: its URL may have changed
	queueRetry = 2 * time.Second  // after a failure, doubled each time
	queueRest  = 30 * time.Second //
)

// queues reads the queues of the services that run here, each beside the others.
type queues struct {
	open OpenQueue
	log  hclog.Logger

	mu      sync.Mutex
	readers map[string]*queueReader // by service
}

// queueReader reads one queue until it is cancelled.
type queueReader struct {
	spec   spec.Service
	cancel context.CancelFunc

	mu   sync.Mutex
	last *sample.Queue
	err  string
}

// run starts and ends readers as services come and go.
func (q *queues) run(ctx context.Context, targets func() []monitor.Target) {
	if q.open == nil {
		<-ctx.Done()
		return
	}
	var all sync.WaitGroup
	defer all.Wait()
	tick := time.NewTicker(queueLook)
	defer tick.Stop()
	for {
		wanted := map[string]spec.Service{}
		for _, t := range targets() {
			if t.Known && t.Service.Scale.Queue != (spec.Queue{}) {
				wanted[t.Instance.App+"/"+t.Instance.Service] = t.Service
			}
		}
		q.mu.Lock()
		for name, r := range q.readers {
			if s, still := wanted[name]; !still || s.Scale.Queue != r.spec.Scale.Queue {
				r.cancel()
				delete(q.readers, name)
			}
		}
		for name, s := range wanted {
			if q.readers[name] == nil {
				reading, cancel := context.WithCancel(ctx)
				r := &queueReader{spec: s, cancel: cancel}
				q.readers[name] = r
				all.Go(func() { r.run(reading, q.open) })
			}
		}
		q.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// fill adds what is known of the queue of a service.
func (q *queues) fill(s *sample.Service) {
	q.mu.Lock()
	r := q.readers[s.Name]
	q.mu.Unlock()
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s.Queue = r.last
	if r.err != "" {
		s.Errors = append(s.Errors, r.err)
	}
}

// run opens the queue, reads it for a while, and opens it anew.
func (r *queueReader) run(ctx context.Context, open OpenQueue) {
	pause := queueRetry
	for ctx.Err() == nil {
		err := r.session(ctx, open)
		if ctx.Err() != nil {
			return
		}
		r.mu.Lock()
		r.err = ""
		if err != nil {
			r.err = err.Error()
		}
		r.mu.Unlock()
		if err == nil {
			pause = queueRetry
			continue
		}
		wait := time.NewTimer(pause)
		pause = min(2*pause, queueRest)
		select {
		case <-ctx.Done():
		case <-wait.C:
		}
		wait.Stop()
	}
}

func (r *queueReader) session(ctx context.Context, open OpenQueue) error {
	asked, cancel := context.WithTimeout(ctx, queueLimit)
	queue, err := open(asked, r.spec)
	cancel()
	if err != nil {
		return err
	}
	defer func() { _ = queue.Close() }()
	tick := time.NewTicker(queue.Every())
	defer tick.Stop()
	for until := time.Now().Add(queueOpen); time.Now().Before(until); {
		asked, cancel := context.WithTimeout(ctx, queueLimit)
		now := monitor.Clock()
		got, err := queue.Read(asked)
		cancel()
		if err != nil {
			return err
		}
		got.Mono = now
		r.mu.Lock()
		r.last, r.err = &got, ""
		r.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
	return nil
}
