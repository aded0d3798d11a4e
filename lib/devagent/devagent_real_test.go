//go:build real

package devagent

import (
	"net/http"
	"testing"

	"svckit/lab"
)

func TestAnAgentServesUntilItIsStopped(t *testing.T) {
	a, err := Start(t.Context(), lab.ConsulBinary(t))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Get("http://" + a.HTTPAddress() + "/v1/status/leader")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	a.Stop()
	a.Stop()
	if _, err := http.Get("http://" + a.HTTPAddress() + "/v1/status/leader"); err == nil { //nolint:bodyclose // there is none
		t.Error("it still answers")
	}
}
