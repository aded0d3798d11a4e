// Command consumer works off the RabbitMQ queue "jobs", one message at a time, a
// fifth of a second each. What it did is told to the queue "log"; a message that
// comes again, since a consumer died with it, is told to "again" too. Told to end,
// it finishes the message at hand.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const work = 200 * time.Millisecond

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := consume(ctx, os.Getenv("AMQP_URL")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func consume(ctx context.Context, url string) error {
	conn, err := amqp.Dial(url)
	if err != nil {
		return err
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	for _, name := range []string{"jobs", "log", "again"} {
		if _, err := ch.QueueDeclare(name, true, false, false, false, nil); err != nil {
			return err
		}
	}
	if err := ch.Qos(1, 0, false); err != nil {
		return err
	}
	jobs, err := ch.Consume("jobs", "me", false, false, false, false, nil)
	if err != nil {
		return err
	}
	go func() { // no more after this; what was delivered is worked off
		<-ctx.Done()
		_ = ch.Cancel("me", false)
	}()
	for job := range jobs {
		if err := do(ch, job); err != nil {
			return err
		}
	}
	if ctx.Err() == nil {
		return amqp.ErrClosed
	}
	return nil
}

func do(ch *amqp.Channel, job amqp.Delivery) error {
	tell := func(queue string) error {
		return ch.PublishWithContext(context.Background(), "", queue, false, false, amqp.Publishing{Body: job.Body})
	}
	if job.Redelivered {
		if err := tell("again"); err != nil {
			return err
		}
	}
	time.Sleep(work)
	if err := tell("log"); err != nil {
		return err
	}
	return job.Ack(false)
}
