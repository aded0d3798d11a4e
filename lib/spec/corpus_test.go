package spec

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// Run with -update to write the printed specs anew; look at the difference before you commit it.
var update = flag.Bool("update", false, "write golden files")

// Each file of testdata/broken begins with comment lines that hold exactly the
// problems it has: "# LINE: PATH: MESSAGE".
func TestEveryBrokenSpecHasExactlyTheProblemsItSays(t *testing.T) {
	files, err := filepath.Glob("testdata/broken/*.yaml")
	if err != nil || len(files) < 60 {
		t.Fatalf("found %d broken specs, expected at least 60 (%v)", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(text)) {
				msg, ok := strings.CutPrefix(line, "# ")
				n, _, _ := strings.Cut(msg, ":")
				if _, err := strconv.Atoi(n); !ok || err != nil {
					break
				}
				want = append(want, "app.yaml:"+strings.TrimSuffix(msg, "\n"))
			}
			app, problems := Decode("app.yaml", text)
			var got []string
			for _, p := range problems {
				got = append(got, p.String())
			}
			if len(want) == 0 || !reflect.DeepEqual(got, want) {
				t.Errorf("problems:\n%s\nexpected:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			if !reflect.DeepEqual(app, App{}) {
				t.Errorf("a broken spec gave an app: %+v", app)
			}
		})
	}
}

func TestEveryGoodSpecPrintsCompleteAndReadsBackTheSame(t *testing.T) {
	files, err := filepath.Glob("testdata/good/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no good specs: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			app, problems := Decode(file, text)
			if len(problems) > 0 {
				t.Fatalf("problems: %v", problems)
			}
			golden := strings.TrimSuffix(file, ".yaml") + ".printed"
			printed := app.Marshal()
			if *update {
				if err := os.WriteFile(golden, printed, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(printed, want) {
				t.Errorf("printed:\n%s\nexpected:\n%s", printed, want)
			}
			again, problems := Decode(golden, printed)
			if len(problems) > 0 || !reflect.DeepEqual(app, again) {
				t.Errorf("the printed spec reads differently: %v\n%+v\nexpected\n%+v", problems, again, app)
			}
		})
	}
}
