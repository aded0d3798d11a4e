package ground

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
)

// baseRepo is where a fleet's registry has the base image.
const baseRepo = "base"

// putBase puts the base image into the fleet's registry as it lies in the file, uncompressed: packing and unpacking would
// take longer than everything else. It returns the name by which hosts pull it.
func (f *Fleet) putBase(ctx context.Context) (ref string, err error) {
	client := f.wire.Client()
	defer client.CloseIdleConnections()
	layer, err := os.Open(f.parts.File)
	if err != nil {
		return "", fmt.Errorf("put base image: %w", err)
	}
	defer layer.Close()
	hash := sha256.New()
	size, err := io.Copy(hash, layer)
	var made os.FileInfo
	if err == nil {
		made, err = layer.Stat()
	}
	if err == nil {
		_, err = layer.Seek(0, io.SeekStart)
	}
	if err != nil {
		return "", fmt.Errorf("put base image: %w", err)
	}
	layerDigest := fmt.Sprintf("sha256:%x", hash.Sum(nil))
	var env []string
	for _, line := range f.parts.Env {
		env = append(env, strings.TrimPrefix(line, "ENV "))
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "created": made.ModTime().UTC(), "config": map[string]any{"Env": env},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{layerDigest}},
		"history": []map[string]any{{"created": made.ModTime().UTC(), "comment": "the base image of the lab"}},
	})
	if err != nil {
		return "", fmt.Errorf("put base image: %w", err)
	}
	const kind = "application/vnd.docker.distribution.manifest.v2+json"
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": kind,
		"config": map[string]any{"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config), "digest": digestOf(config)},
		"layers": []map[string]any{{"mediaType": "application/vnd.docker.image.rootfs.diff.tar", "size": size, "digest": layerDigest}},
	})
	if err == nil {
		err = f.putBlob(ctx, client, layerDigest, layer, size)
	}
	if err == nil {
		err = f.putBlob(ctx, client, digestOf(config), bytes.NewReader(config), int64(len(config)))
	}
	if err == nil {
		_, err = send(ctx, client, http.MethodPut, f.registryURL("/manifests/latest"), kind, bytes.NewReader(manifest), int64(len(manifest)))
	}
	if err != nil {
		return "", fmt.Errorf("put base image: %w", err)
	}
	return f.Registry + "/" + baseRepo + "@" + digestOf(manifest), nil
}

func digestOf(text []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(text)) }

func (f *Fleet) registryURL(path string) string {
	return "http://" + f.Registry + "/v2/" + baseRepo + path
}

func (f *Fleet) putBlob(ctx context.Context, client *http.Client, digest string, content io.Reader, size int64) error {
	upload, err := send(ctx, client, http.MethodPost, f.registryURL("/blobs/uploads/"), "", http.NoBody, 0)
	if err != nil {
		return err
	}
	at, err := url.Parse(upload)
	if err != nil {
		return fmt.Errorf("read the place of an upload: %w", err)
	}
	query := at.Query()
	query.Set("digest", digest)
	at.RawQuery = query.Encode()
	_, err = send(ctx, client, http.MethodPut, at.String(), "application/octet-stream", content, size)
	return err
}

// send returns the place that the answer names.
func send(ctx context.Context, client *http.Client, method, to, kind string, body io.Reader, size int64) (location string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, to, body)
	if err != nil {
		return "", err
	}
	req.ContentLength = size
	req.Header.Set("Content-Type", kind)
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<16)); res.StatusCode >= 300 {
		return "", fmt.Errorf("%s %s: %s: %s", method, to, res.Status, bytes.TrimSpace(text))
	}
	return res.Header.Get("Location"), nil
}

// pullBase gives an engine the base image out of the fleet's registry, under both its names.
func (h *Host) pullBase(ctx context.Context) error {
	repo, digest, _ := strings.Cut(h.fleet.Base, "@")
	err := call(ctx, h.Host(), http.MethodPost, "/images/create?"+url.Values{"fromImage": {repo}, "tag": {digest}}.Encode(), nil)
	if err == nil {
		name, tag, _ := strings.Cut(h.fleet.parts.Name, ":")
		err = call(ctx, h.Host(), http.MethodPost, "/images/"+h.fleet.Base+"/tag?"+url.Values{"repo": {name}, "tag": {tag}}.Encode(), nil)
	}
	if err != nil {
		return fmt.Errorf("give %s the base image: %w", h.Name, err)
	}
	return nil
}
