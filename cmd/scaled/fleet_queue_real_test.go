//go:build real

package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"svckit/lab"
)

const consumers = `    kind: daemon
    command: [python3, consumer.py]
    stop: {timeout: 20s}
    config: {env: [QUEUE_URL]}
    check: {min_healthy: 1s, deadline: 60s}
    scale: {unit: instances, strategy: queue, queue: {from: QUEUE_URL, list: jobs, busy: "jobs:busy", done: "jobs:done"}, min: 1, max: 6, drain: 15s, start_up: 3s, down: {after: 10s, step: 100%}}
`

// queueDrained fills a Redis list with a minute of work for one consumer, and
// expects more of them, every message done once, and no consumer ended at work.
func queueDrained(t *testing.T, f *wholeFleet) {
	const port = "6379"
	host := f.Servers[2]
	address := net.JoinHostPort(host.Addr(), port)
	server := host.Command(t, lab.RedisServer(t), "--bind", host.Addr(), "--port", port, "--save", "", "--protected-mode", "no", "--dir", t.TempDir())
	var said bytes.Buffer
	server.Stdout, server.Stderr = &said, &said
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	queue := redis.NewClient(&redis.Options{Addr: address})
	defer queue.Close()
	soon(t, 20*time.Second, "redis answers", func() error { return queue.Ping(t.Context()).Err() })

	url := "redis://" + address + "/0"
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, f.Servers[0].Consul()+"/v1/kv/svc/apps/jobs/config/QUEUE_URL", strings.NewReader(url))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	f.release(t, "jobs", "work", consumers)
	soon(t, 4*time.Minute, "the first consumer", f.atLeast("jobs/work", 1, 1))
	const messages = 400 // 80 s of work for one
	var jobs []any
	for n := range messages {
		jobs = append(jobs, fmt.Sprintf("job-%03d", n))
	}
	began := time.Now()
	if err := queue.LPush(t.Context(), "jobs", jobs...).Err(); err != nil {
		t.Fatal(err)
	}
	took := soon(t, 4*time.Minute, "more consumers", f.atLeast("jobs/work", 3, 1))
	t.Logf("from the burst to three consumers: %.1f s", took.Seconds())
	soon(t, 6*time.Minute, "all messages done", func() error {
		n, err := queue.LLen(t.Context(), "jobs:log").Result()
		if err == nil && n < messages {
			err = fmt.Errorf("%d done", n)
		}
		return err
	})
	t.Logf("%d messages of 0.2 s: done after %.1f s", messages, time.Since(began).Seconds())
	// Up to three minutes, by the minutes that are remembered; a leader that is new lowers nothing for one more.
	soon(t, 8*time.Minute, "one consumer again", func() error {
		if n, by := f.ready("jobs/work"); n != 1 {
			return fmt.Errorf("ready %v", by)
		}
		return nil
	})
	log, err := queue.LRange(t.Context(), "jobs:log", 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for _, job := range log {
		times[job]++
	}
	if len(times) != messages || len(log) != messages {
		t.Errorf("%d of %d messages were done, %d times in all", len(times), messages, len(log))
	}
	if left, err := queue.LLen(t.Context(), "jobs:busy").Result(); err != nil || left != 0 {
		t.Errorf("%d messages were left by consumers that ended at work, %v", left, err)
	}
}
