//go:build real

package lab_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"svckit/lab"
)

// A host that is slow still gets everything, also what is larger than a packet, and only it is slow.
func TestHostIsSlowedDownAndQuickAgain(t *testing.T) {
	const delay = 150 * time.Millisecond
	f := lab.NewFleet(t, lab.Datacenter{Servers: 1, Hosts: 2, Bare: true})
	slow, quick := f.Hosts[0], f.Hosts[1]
	large := bytes.Repeat([]byte("0123456789abcdef"), 16<<10) // 256 KiB

	slow.Slow(t, delay)
	if took, err := roundTrip(http.DefaultClient, slow.Consul(), large); err != nil || took < 2*delay {
		t.Errorf("a round trip to the slow host took %s, error %v; want %s at least", took, err, 2*delay)
	}
	if took, err := roundTrip(slow.Client(), quick.Consul(), large); err != nil || took < 2*delay {
		t.Errorf("a round trip from the slow host took %s, error %v; want %s at least", took, err, 2*delay)
	}
	if err := registryAnswers(slow.Client(), f.Registry, 2*delay); err != nil {
		t.Errorf("from the slow host: %v", err)
	}
	slow.CutOff(t)
	slow.Rejoin(t)
	await(t, 2*time.Minute, "the slow host answers after it was cut off", func() error {
		took, err := roundTrip(http.DefaultClient, slow.Consul(), large)
		if err == nil && took < 2*delay {
			t.Errorf("after it was cut off a round trip took %s, want %s at least", took, 2*delay)
		}
		return err
	})
	soon := func(h *lab.Host) func() error {
		return func() error {
			took, err := roundTrip(http.DefaultClient, h.Consul(), large)
			if err == nil && took >= 2*delay {
				err = fmt.Errorf("it took %s", took)
			}
			return err
		}
	}
	await(t, 2*time.Minute, "the other host is quick", soon(quick))
	slow.Slow(t, 0)
	await(t, 2*time.Minute, "it is quick again", soon(slow))
}

// roundTrip writes a value through an agent and reads it back; it says how long the reading took.
func roundTrip(client *http.Client, agent string, value []byte) (time.Duration, error) {
	defer client.CloseIdleConnections()
	req, err := http.NewRequest(http.MethodPut, agent+"/v1/kv/large", bytes.NewReader(value))
	if err != nil {
		return 0, err
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	res.Body.Close()
	began := time.Now()
	if res, err = client.Get(agent + "/v1/kv/large?raw"); err != nil {
		return 0, err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err == nil && !bytes.Equal(got, value) {
		err = fmt.Errorf("%s: %d bytes came back of %d", res.Status, len(got), len(value))
	}
	return time.Since(began), err
}

func registryAnswers(client *http.Client, registry string, atLeast time.Duration) error {
	began := time.Now()
	res, err := client.Get("http://" + registry + "/v2/")
	if err != nil {
		return err
	}
	res.Body.Close()
	if took := time.Since(began); took < atLeast || res.StatusCode != http.StatusOK {
		return fmt.Errorf("the registry answered %s after %s", res.Status, took)
	}
	return nil
}
