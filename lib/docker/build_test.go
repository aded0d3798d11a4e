package docker

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	controlapi "github.com/moby/buildkit/api/services/control"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"svckit/lib/fault"
)

// traced is one moby.buildkit.trace message as the engine sends it.
func traced(t testing.TB, r *controlapi.StatusResponse) string {
	t.Helper()
	raw, err := proto.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"id":"moby.buildkit.trace","aux":%q}`+"\n", base64.StdEncoding.EncodeToString(raw))
}

func at(seconds int64) *timestamppb.Timestamp { return &timestamppb.Timestamp{Seconds: seconds} }

const imageMessage = `{"id":"moby.image.id","aux":{"ID":"sha256:0f0f"}}` + "\n"

func read(t *testing.T, stream string) (id string, log *buildLog, shown string, err error) {
	t.Helper()
	log = newBuildLog()
	var out bytes.Buffer
	show := newBuildShow(BuildRequest{Out: &out, Every: true})
	id, err = readBuild(strings.NewReader(stream), func(raw []byte) error {
		status, err := decodeTrace(raw)
		if err == nil {
			log.update(status)
			show.update(status)
		}
		return err
	})
	return id, log, out.String(), err
}

func TestABuildStreamTellsStepsAndTheImage(t *testing.T) {
	stream := traced(t, &controlapi.StatusResponse{Vertexes: []*controlapi.Vertex{
		{Digest: "sha256:i", Name: "[internal] load build definition", Started: at(1), Completed: at(2)},
		{Digest: "sha256:a", Name: "[1/3] FROM base", Started: at(1), Completed: at(1), Cached: true},
		{Digest: "sha256:b", Name: "[2/3] RUN make", Started: at(2)},
		{Digest: "sha256:c", Name: "copy /context /", Started: at(2), Completed: at(3)},
	}}) + traced(t, &controlapi.StatusResponse{Logs: []*controlapi.VertexLog{
		{Vertex: "sha256:b", Msg: []byte("first\nsec")}, {Vertex: "sha256:b", Msg: []byte("ond\n")},
	}}) + traced(t, &controlapi.StatusResponse{Vertexes: []*controlapi.Vertex{
		{Digest: "sha256:b", Name: "[2/3] RUN make", Started: at(2), Completed: at(5)},
	}}) + imageMessage
	id, log, shown, err := read(t, stream)
	if err != nil || id != "sha256:0f0f" || log.failure() != nil {
		t.Errorf("id %q, failure %v, error %v", id, log.failure(), err)
	}
	want := "build: [1/3] FROM base cached\n" +
		"build: [2/3] RUN make\n" +
		"build: read build context\n" +
		"build: read build context done in 1s\n" +
		"build: [2/3] | first\n" +
		"build: [2/3] | second\n" +
		"build: [2/3] done in 3s\n"
	if shown != want {
		t.Errorf("shown:\n%swant:\n%s", shown, want)
	}
}

func TestAFailureInsideAGoodAnswerIsFound(t *testing.T) {
	rows := []struct{ name, stream, want string }{
		{"an error message", imageMessage + `{"errorDetail":{"message":" dockerfile parse error "},"error":"x"}`, "dockerfile parse error"},
		{"a stream that is cut off", `{"id":"moby.bui`, "read the engine's answer: unexpected EOF"},
		{"a trace that is none", `{"id":"moby.buildkit.trace","aux":"AQ=="}`, "read build progress: "},
		{"a trace of another type", `{"id":"moby.buildkit.trace","aux":5}`, "read build progress: "},
		{"an image id of another type", `{"id":"moby.image.id","aux":5}`, "read image id: "},
	}
	for _, row := range rows {
		if _, _, _, err := read(t, row.stream); err == nil || !strings.HasPrefix(err.Error(), row.want) {
			t.Errorf("%s: error is %v, want %q", row.name, err, row.want)
		}
	}
}

func TestTheStepThatFailedFirstIsNamedWithItsLastLines(t *testing.T) {
	var lines strings.Builder
	for i := range 40 {
		fmt.Fprintf(&lines, "line %d\n", i)
	}
	lines.WriteString("\x1b[31mlast, without an end\x1b[0m")
	_, log, _, err := read(t, traced(t, &controlapi.StatusResponse{
		Vertexes: []*controlapi.Vertex{
			{Digest: "sha256:a", Name: "[a 2/2] RUN sleep", Started: at(1), Completed: at(4), Error: "context canceled"},
			{Digest: "sha256:l", Name: "[c 2/2] RUN later", Started: at(1), Completed: at(9), Error: "late"},
			{Digest: "sha256:b", Name: "[b 2/2] RUN false", Started: at(1), Completed: at(3), Error: "executor failed running [/bin/sh -c false]: exit code: 1"},
		},
		Logs: []*controlapi.VertexLog{{Vertex: "sha256:b", Msg: []byte(lines.String())}},
	})+`{"errorDetail":{"message":"executor failed"}}`)
	if err == nil {
		t.Fatal("no error")
	}
	got := buildError(t.Context(), &remember{}, log.failure(), err)
	var f *fault.Error
	if !errors.As(got, &f) || got.Error() != "build image: step [b 2/2] RUN false: exit code: 1" || fault.KindOf(got) != fault.Failed {
		t.Fatalf("error is %q (%v)", got, fault.KindOf(got))
	}
	if len(f.Detail) != 30 || f.Detail[0] != "line 11" || f.Detail[29] != "last, without an end" {
		t.Errorf("%d lines: %q", len(f.Detail), f.Detail)
	}
}

func TestASourceThatCannotBeReadIsWhatABuildFailsWith(t *testing.T) {
	cause := fault.WithHint(errors.New("read source: data changed while it was read"), "build again")
	source := &remember{FS: failing{cause}}
	f, err := source.Open("data")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(f)
	err = buildError(t.Context(), source, nil, errors.New("unexpected EOF"))
	if err.Error() != "build image: read source: data changed while it was read" || hintOf(err) != "build again" {
		t.Errorf("error is %v with hint %q", err, hintOf(err))
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupted"))
	if err := buildError(ctx, source, nil, context.Canceled); err.Error() != "build image: interrupted" {
		t.Errorf("error is %v", err)
	}
}

// failing is a source whose files cannot be read to their end.
type failing struct{ err error }

func (f failing) Walk(context.Context, string, fs.WalkDirFunc) error { return nil }
func (f failing) Open(string) (io.ReadCloser, error)                 { return f, nil }
func (f failing) Read([]byte) (int, error)                           { return 0, f.err }
func (f failing) Close() error                                       { return nil }

func TestALineIsMadeFitToBeShown(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                           "plain",
		"carriage\r":                      "carriage",
		" 10%\r 50%\r100%":                "100%",
		"\x1b[1;31mred\x1b[0m":            "red",
		"\x1b]0;title\x07text":            "text",
		"tab\tbell\x07":                   "tab\tbell",
		"bad \xff byte":                   "bad � byte",
		"c1 \u009b31m":                    "c1 31m",
		strings.Repeat("x", maxLogLine+1): strings.Repeat("x", maxLogLine) + "…",
	} {
		if got := cleanLine([]byte(in)); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func TestATailIsBoundedWhateverIsWritten(t *testing.T) {
	tl := tail{max: 3}
	for range 100 {
		tl.add(bytes.Repeat([]byte("x"), 10_000))
	}
	if len(tl.partial) >= maxPartial || len(tl.lines()) > 3 {
		t.Errorf("%d bytes without an end, %d lines", len(tl.partial), len(tl.lines()))
	}
	tl = tail{max: 3}
	tl.add([]byte("a\nb\nc\nd\ne"))
	if got := tl.lines(); !slices.Equal(got, []string{"c", "d", "e"}) {
		t.Errorf("kept %q", got)
	}
}

func TestEveryPartOfARequestReachesTheEngine(t *testing.T) {
	got := buildOptions(BuildRequest{
		Dockerfile: "build/Dockerfile", Tags: []string{"a:1"}, Args: map[string]string{"EMPTY": "", "BASE": "b"},
		Labels: map[string]string{"l": "v"}, NoCache: true, Pull: true,
	}, "session", "id")
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if string(got.Version) != "2" || got.RemoteContext != "client-session" || got.SessionID != "session" || got.BuildID != "id" ||
		got.Dockerfile != "build/Dockerfile" || !got.NoCache || !got.PullParent || got.Labels["l"] != "v" ||
		*got.BuildArgs["BASE"] != "b" || *got.BuildArgs["EMPTY"] != "" || got.Tags[0] != "a:1" || got.Platform != "" {
		t.Errorf("options are %s", text)
	}
}

func TestProgressTellsTheBytesOfAStep(t *testing.T) {
	var last string
	show := newBuildShow(BuildRequest{Progress: func(what string, done, total int64) { last = fmt.Sprint(what, " ", done, "/", total) }})
	status, err := decodeTrace(mustMarshal(t, &controlapi.StatusResponse{
		Vertexes: []*controlapi.Vertex{{Digest: "sha256:a", Name: "[1/2] FROM base", Started: at(1)}},
		Statuses: []*controlapi.VertexStatus{
			{ID: "layer1", Vertex: "sha256:a", Current: 5, Total: 10, Timestamp: at(1)}, {ID: "layer2", Vertex: "sha256:a", Current: 1, Total: 20, Timestamp: at(1)},
		},
	}))
	if err != nil {
		t.Fatal(err)
	}
	show.update(status)
	if last != "[1/2] FROM base 6/30" {
		t.Errorf("reported %q", last)
	}
}

func mustMarshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	raw, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Whatever the engine sends, reading it ends without a panic and within bounds.
func FuzzBuildStream(f *testing.F) {
	f.Add([]byte(imageMessage))
	f.Add([]byte(`{"id":"moby.buildkit.trace","aux":"CgA="}`))
	f.Add([]byte(`{"status":"latest: digest: sha256:` + strings.Repeat("a", 64) + ` size: 1"}`))
	f.Fuzz(func(t *testing.T, stream []byte) {
		log := newBuildLog()
		show := newBuildShow(BuildRequest{Out: io.Discard, Every: true})
		_, _ = readBuild(bytes.NewReader(stream), func(raw []byte) error {
			status, err := decodeTrace(raw)
			if err == nil {
				log.update(status)
				show.update(status)
			}
			return err
		})
		if failure := log.failure(); failure != nil && len(failure.lines) > lastLines {
			t.Errorf("%d lines", len(failure.lines))
		}
	})
}

func TestHintsAreGivenForWhatIsKnown(t *testing.T) {
	for text, part := range map[string]string{
		"pull access denied for x":                            "docker login",
		"unexpected status: 401 Unauthorized":                 "docker login",
		"dial tcp: lookup registry-1.docker.io: no such host": "--build-arg BASE=",
		"write /x: no space left on device":                   "docker system df",
		"exit code: 1":                                        "",
	} {
		if got := buildHint(text); part == "" && got != "" || !strings.Contains(got, part) {
			t.Errorf("%q: hint %q, want one with %q", text, got, part)
		}
	}
}
