package main

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"svckit/lib/fleet"
)

// maxSample bounds what a node may say of itself, in bytes of JSON.
const maxSample = 8 << 20

// puller asks monitors for their samples.
type puller struct {
	client *http.Client
	token  func() (string, error) // nil: none is shown
}

// pull asks one monitor. ctx bounds it.
func (p *puller) pull(ctx context.Context, m fleet.Monitor) (fleet.Sample, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Scheme+"://"+m.Address+"/v1/sample", nil)
	if err != nil {
		return fleet.Sample{}, fmt.Errorf("ask the monitor of %s: %w", m.Node, err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	if p.token != nil {
		token, err := p.token()
		if err != nil {
			return fleet.Sample{}, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := p.client.Do(req)
	if err != nil {
		return fleet.Sample{}, fmt.Errorf("ask the monitor of %s: %w", m.Node, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fleet.Sample{}, fmt.Errorf("ask the monitor of %s: %s", m.Node, res.Status)
	}
	body := io.Reader(res.Body)
	if res.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(res.Body); err != nil {
			return fleet.Sample{}, fmt.Errorf("read the sample of %s: %w", m.Node, err)
		}
	}
	limited := &io.LimitedReader{R: body, N: maxSample + 1}
	var s fleet.Sample
	if err := json.NewDecoder(limited).Decode(&s); err != nil {
		if limited.N <= 0 {
			err = fmt.Errorf("it is longer than %d MiB", maxSample>>20)
		}
		return fleet.Sample{}, fmt.Errorf("read the sample of %s: %w", m.Node, err)
	}
	if s.Schema != 1 {
		return fleet.Sample{}, fmt.Errorf("read the sample of %s: schema %d, expected 1", m.Node, s.Schema)
	}
	return s, nil
}
