package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"svckit/lib/sample"
	"svckit/lib/spec"
)

// onRabbit is a queue of RabbitMQ, read from its management API: AMQP itself
// tells neither how many messages are unacknowledged nor any rate.
type onRabbit struct {
	name           string
	url            string
	user, password string
	client         *http.Client
}

const (
	rabbitLimit = 3 * time.Second
	rabbitEvery = 5 * time.Second // its own interval of statistics
	maxAnswer   = 1 << 20
)

// openRabbit turns amqp://user:password@host/vhost into the address of the
// management API; with http:// it is that already.
func openRabbit(q spec.Queue, u *url.URL) (Queue, error) {
	host, port := u.Hostname(), u.Port()
	scheme := u.Scheme
	switch scheme {
	case "amqp":
		scheme, port = "http", "15672"
	case "amqps":
		scheme, port = "https", "15671"
	case "http", "https":
	default:
		host = ""
	}
	if host == "" {
		return nil, fmt.Errorf("%s: expected a URL such as amqp://HOST/VHOST, or the management's http://HOST:15672/VHOST", q.From)
	}
	if port != "" {
		host = net.JoinHostPort(host, port)
	} else if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	// amqp://host and amqp://host/ name the virtual host "/"; amqp://host/%2F does too.
	vhost := strings.TrimPrefix(u.Path, "/")
	if vhost == "" {
		vhost = "/"
	}
	r := &onRabbit{
		name: fmt.Sprintf("rabbitmq %s://%s vhost %s queue %s", scheme, host, vhost, q.RabbitMQ),
		url: fmt.Sprintf("%s://%s/api/queues/%s/%s?columns=name,messages_ready,messages_unacknowledged,message_stats.publish,message_stats.ack,message_stats.deliver_no_ack,message_stats.get_no_ack",
			scheme, host, url.PathEscape(vhost), url.PathEscape(q.RabbitMQ)),
		user: "guest", password: "guest",
		client: &http.Client{Timeout: rabbitLimit, Transport: &http.Transport{MaxIdleConns: 1, IdleConnTimeout: time.Minute}},
	}
	if u.User != nil {
		r.user = u.User.Username()
		r.password, _ = u.User.Password()
	}
	return r, nil
}

func (q *onRabbit) Every() time.Duration { return rabbitEvery }

func (q *onRabbit) Close() error {
	q.client.CloseIdleConnections()
	return nil
}

// rabbitAnswer is what counts of its answer. What is not there is nil.
type rabbitAnswer struct {
	Name    string   `json:"name"`
	Ready   *float64 `json:"messages_ready"`
	Unacked *float64 `json:"messages_unacknowledged"`
	Stats   struct {
		Publish     float64 `json:"publish"`
		Ack         float64 `json:"ack"`
		DeliverNoAc float64 `json:"deliver_no_ack"`
		GetNoAck    float64 `json:"get_no_ack"`
	} `json:"message_stats"`
}

func (q *onRabbit) Read(ctx context.Context) (sample.Queue, error) {
	out, err := q.read(ctx)
	if err != nil {
		return sample.Queue{}, fmt.Errorf("read %s: %w", q.name, clean(err, q.password))
	}
	out.Source = q.name
	return out, nil
}

func (q *onRabbit) read(ctx context.Context) (sample.Queue, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, q.url, http.NoBody)
	if err != nil {
		return sample.Queue{}, errors.New("its address makes no URL")
	}
	req.SetBasicAuth(q.user, q.password)
	res, err := q.client.Do(req)
	if err != nil {
		var asked *url.Error
		if errors.As(err, &asked) {
			err = asked.Err // without the URL
		}
		return sample.Queue{}, fmt.Errorf("ask the management API, which alone tells of unacknowledged messages: %w", err)
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return sample.Queue{}, errors.New("not allowed: the user needs the tag monitoring, or permissions in the virtual host and the tag management")
	case http.StatusNotFound:
		return sample.Queue{}, errors.New("there is no such queue or virtual host")
	default:
		return sample.Queue{}, fmt.Errorf("it answers %s", res.Status)
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return sample.Queue{}, err
	}
	return decodeRabbit(text)
}

func decodeRabbit(text []byte) (sample.Queue, error) {
	var a rabbitAnswer
	if err := json.Unmarshal(text, &a); err != nil || a.Name == "" {
		return sample.Queue{}, errors.New("it answers something that is no queue")
	}
	if a.Ready == nil || a.Unacked == nil {
		return sample.Queue{}, errors.New("it has no figures yet")
	}
	for _, n := range []float64{*a.Ready, *a.Unacked, a.Stats.Publish, a.Stats.Ack, a.Stats.DeliverNoAc, a.Stats.GetNoAck} {
		if !(n >= 0 && n < 1e15) {
			return sample.Queue{}, errors.New("it answers a number that makes no sense")
		}
	}
	return sample.Queue{
		Ready: *a.Ready, Unacked: *a.Unacked, Counted: true, Published: a.Stats.Publish,
		Acked: a.Stats.Ack + a.Stats.DeliverNoAc + a.Stats.GetNoAck,
	}, nil
}
