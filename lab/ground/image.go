package ground

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// Import makes an image of one layer out of a tar file; changes are lines of a Dockerfile, e.g. "ENV A=b".
func Import(ctx context.Context, host, file, ref string, changes ...string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("import image %s: %w", ref, err)
	}
	defer f.Close()
	repo, tag, _ := strings.Cut(ref, ":")
	query := url.Values{"fromSrc": {"-"}, "repo": {repo}, "tag": {tag}, "changes": changes}
	if err := call(ctx, host, http.MethodPost, "/images/create?"+query.Encode(), f); err != nil {
		return fmt.Errorf("import image %s: %w", ref, err)
	}
	return nil
}

// HasImage says whether the engine holds an image.
func HasImage(ctx context.Context, host, ref string) (bool, error) {
	err := call(ctx, host, http.MethodGet, "/images/"+ref+"/json", nil)
	if errors.Is(err, errNotFound) {
		return false, nil
	}
	return err == nil, err
}

var errNotFound = errors.New("not found")

// call reads the answer to its end: the engine says 200 first and reports a failure inside the stream.
func call(ctx context.Context, host, method, path string, body io.Reader) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://engine"+path, body)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/x-tar")
	}
	res, err := client(host).Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	switch {
	case err != nil:
		return err
	case res.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%w: %s", errNotFound, bytes.TrimSpace(text))
	case res.StatusCode >= 300:
		return fmt.Errorf("%s: %s", res.Status, bytes.TrimSpace(text))
	}
	return streamError(text)
}

// streamError finds {"error": …} among the JSON documents of an answer; what is no JSON has none.
func streamError(text []byte) error {
	var line struct{ Error string }
	for dec := json.NewDecoder(bytes.NewReader(text)); dec.Decode(&line) == nil; {
		if line.Error != "" {
			return errors.New(line.Error)
		}
	}
	return nil
}
