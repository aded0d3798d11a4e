package queue

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"svckit/lib/spec"
)

func TestAnAddressThatIsNoneIsRefusedWithoutShowingIt(t *testing.T) {
	for at, q := range map[string]spec.Queue{
		"redis://u:secret@h:x/0":  {From: "URL", List: "jobs"},
		"http://u:secret@h":       {From: "URL", List: "jobs"},
		"redis://u:secret@h/0":    {From: "URL", RabbitMQ: "jobs"},
		"amqp://u:secret@":        {From: "URL", RabbitMQ: "jobs"},
		"amqp://u:secret@h\x7f/v": {From: "URL", RabbitMQ: "jobs"},
	} {
		if _, err := Open(q, at); err == nil || strings.Contains(err.Error(), "secret") || !strings.HasPrefix(err.Error(), "URL: ") {
			t.Errorf("%q: %v", at, err)
		}
	}
}

func TestTheManagementIsFoundByTheAddressOfClients(t *testing.T) {
	for at, want := range map[string]string{
		"amqp://u:p@rabbit":                   "http://rabbit:15672/api/queues/%2F/a%2Fb?",
		"amqp://u:p@rabbit:5672/shop":         "http://rabbit:15672/api/queues/shop/a%2Fb?",
		"amqps://u:p@[::1]:5671/%2F":          "https://[::1]:15671/api/queues/%2F/a%2Fb?",
		"https://u:p@rabbit.example/shop%2Fx": "https://rabbit.example/api/queues/shop%2Fx/a%2Fb?",
	} {
		q, err := Open(spec.Queue{From: "URL", RabbitMQ: "a/b"}, at)
		if err != nil {
			t.Errorf("%s: %v", at, err)
			continue
		}
		if got := q.(*onRabbit).url; !strings.HasPrefix(got, want) {
			t.Errorf("%s is asked at %s, want %s", at, got, want)
		}
	}
}

func TestAnAnswerThatIsNoQueueIsAnError(t *testing.T) {
	for text, want := range map[string]string{
		"<html>502</html>": "no queue",
		`{}`:               "no queue",
		`{"name": "jobs"}`: "no figures yet",
		`{"name":"jobs","messages_ready":-1,"messages_unacknowledged":0}`:        "makes no sense",
		`{"name":"jobs","messages_ready":"many","messages_unacknowledged":0}`:    "no queue",
		`{"name":"jobs","messages_ready":1e300,"messages_unacknowledged":0}`:     "makes no sense",
		`{"name":"jobs","messages_ready":3,"messages_unacknowledged":` + "null}": "no figures yet",
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }))
		q, err := Open(spec.Queue{From: "URL", RabbitMQ: "jobs"}, strings.Replace(s.URL, "http://", "http://u:top-secret@", 1))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := q.Read(t.Context()); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "top-secret") {
			t.Errorf("%s: %+v, %v, want %s", text, got, err, want)
		}
		s.Close()
	}
}

func FuzzRabbit(f *testing.F) {
	f.Add([]byte(`{"name":"jobs","messages_ready":3,"messages_unacknowledged":1,"message_stats":{"publish":9,"ack":5}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		q, err := decodeRabbit(text)
		if err == nil && !(q.Ready >= 0 && q.Unacked >= 0 && q.Published >= 0 && q.Acked >= 0) {
			t.Errorf("%+v", q)
		}
	})
}
