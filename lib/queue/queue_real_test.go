//go:build real

package queue

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/redis/go-redis/v9"

	"svckit/lab"
	"svckit/lib/sample"
	"svckit/lib/spec"
)

// opened opens a queue for a test.
func opened(t *testing.T, q spec.Queue, at string) Queue {
	t.Helper()
	q.From = "URL"
	out, err := Open(q, at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() })
	return out
}

func read(t *testing.T, q Queue) sample.Queue {
	t.Helper()
	got, err := q.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(got.Source, lab.QueuePassword) {
		t.Errorf("its name holds the password: %s", got.Source)
	}
	return got
}

// figures are the numbers of a reading: ready, unacked, published, acked.
func figures(q sample.Queue) [4]float64 {
	return [4]float64{q.Ready, q.Unacked, q.Published, q.Acked}
}

func redisClient(t *testing.T, at string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(at)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestAListOfRedisIsRead(t *testing.T) {
	at := lab.Redis(t)
	c := redisClient(t, at)
	ctx := t.Context()
	plain, full := opened(t, spec.Queue{List: "jobs"}, at), opened(t, spec.Queue{List: "jobs", Busy: "jobs:busy", Done: "jobs:done"}, at)
	if got := read(t, full); figures(got) != [4]float64{} || !got.Counted {
		t.Errorf("nothing was ever in it: %+v", got)
	}
	for k := range 100 {
		c.LPush(ctx, "jobs", k)
	}
	for range 30 {
		c.LMove(ctx, "jobs", "jobs:busy", "RIGHT", "LEFT")
	}
	for range 12 {
		c.RPop(ctx, "jobs:busy")
		c.Incr(ctx, "jobs:done")
	}
	if got := read(t, full); figures(got) != [4]float64{70, 18, 100, 12} {
		t.Errorf("100 came, 30 were taken, 12 are done: %+v", got)
	}
	if got := read(t, plain); figures(got) != [4]float64{70, 0, 0, 0} || got.Counted {
		t.Errorf("only the list is known: %+v", got)
	}
	c.Set(ctx, "text", "x", 0)
	if _, err := opened(t, spec.Queue{List: "text"}, at).Read(ctx); err == nil || !strings.Contains(err.Error(), "WRONGTYPE") {
		t.Errorf("a text as list: %v", err)
	}
	if _, err := opened(t, spec.Queue{List: "jobs", Done: "text"}, at).Read(ctx); err == nil || !strings.Contains(err.Error(), "text is no counter") {
		t.Errorf("a text as counter: %v", err)
	}
	wrong := strings.Replace(at, lab.QueuePassword, "wrong-secret-99", 1)
	if _, err := opened(t, spec.Queue{List: "jobs"}, wrong).Read(ctx); err == nil || strings.Contains(err.Error(), "wrong-secret-99") {
		t.Errorf("another password: %v", err)
	}
}

func TestAStreamOfRedisIsRead(t *testing.T) {
	at := lab.Redis(t)
	c := redisClient(t, at)
	ctx := t.Context()
	q := opened(t, spec.Queue{Stream: "jobs", Group: "workers"}, at)
	if _, err := q.Read(ctx); err == nil || !strings.Contains(err.Error(), "no such key") {
		t.Errorf("no stream: %v", err)
	}
	for range 50 {
		c.XAdd(ctx, &redis.XAddArgs{Stream: "jobs", Values: []string{"k", "v"}})
	}
	if _, err := q.Read(ctx); err == nil || !strings.Contains(err.Error(), "no group workers") {
		t.Errorf("no group: %v", err)
	}
	if err := c.XGroupCreate(ctx, "jobs", "workers", "0").Err(); err != nil {
		t.Fatal(err)
	}
	got, err := c.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "workers", Consumer: "w1", Streams: []string{"jobs", ">"}, Count: 20}).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range got[0].Messages[:8] {
		c.XAck(ctx, "jobs", "workers", m.ID)
	}
	if got := read(t, q); figures(got) != [4]float64{30, 12, 50, 8} || !got.Counted {
		t.Errorf("50 came, 20 were given, 8 acknowledged: %+v", got)
	}
	c.XTrimMaxLen(ctx, "jobs", 30)
	if got := read(t, q); figures(got) != [4]float64{30, 12, 50, 8} {
		t.Errorf("what was done is trimmed: %+v", got)
	}
}

func TestAQueueOfRabbitMQIsRead(t *testing.T) {
	at := lab.RabbitMQ(t)
	conn, err := amqp.Dial(at.AMQP)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Qos(10, 0, false); err != nil {
		t.Fatal(err)
	}
	const name = "jobs/due now" // its name is part of a URL
	if _, err := ch.QueueDeclare(name, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	for k := range 40 {
		if err := ch.PublishWithContext(t.Context(), "", name, false, false, amqp.Publishing{Body: fmt.Append(nil, k)}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := ch.Consume(name, "w1", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 7 {
		if err := (<-got).Ack(false); err != nil {
			t.Fatal(err)
		}
	}
	q := opened(t, spec.Queue{RabbitMQ: name}, at.Management)
	want := [4]float64{23, 10, 40, 7} // 10 are given out at a time
	var last sample.Queue
	for end := time.Now().Add(30 * time.Second); figures(last) != want; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("40 came, 7 are acknowledged, 10 are worked on: %+v", last)
		}
		if got, err := q.Read(t.Context()); err == nil { // it has no figures in its first seconds
			last = got
		}
	}
	if strings.Contains(last.Source, lab.QueuePassword) {
		t.Errorf("its name holds the password: %s", last.Source)
	}
	for what, row := range map[string]struct {
		q    spec.Queue
		at   string
		want string
	}{
		"another queue":    {spec.Queue{RabbitMQ: "none"}, at.Management, "no such queue"},
		"another password": {spec.Queue{RabbitMQ: name}, strings.Replace(at.Management, lab.QueuePassword, "wrong-secret-99", 1), "not allowed"},
		"no management":    {spec.Queue{RabbitMQ: name}, at.AMQP, "which alone tells of unacknowledged messages"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := opened(t, row.q, row.at).Read(ctx)
		cancel()
		if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
