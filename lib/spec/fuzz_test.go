package spec

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"svckit/lib/strictyaml"
)

func FuzzDecodeNeverPanicsAndValidSpecsRoundTrip(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/broken/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no seeds in %s: %v", pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		app, problems := Decode("app.yaml", text)
		for _, p := range problems {
			if p.Msg == "" || p.File != "app.yaml" || strings.ContainsAny(p.String(), "\n\x00") {
				t.Errorf("a problem without a message, file or on two lines: %+v", p)
			}
		}
		if len(problems) > 0 {
			return
		}
		printed := app.Marshal()
		again, problems := Decode("printed", printed)
		if len(printed) > strictyaml.MaxBytes { // the defaults made it larger than what is read
			if len(problems) == 0 {
				t.Errorf("%d bytes are read, at most %d should be", len(printed), strictyaml.MaxBytes)
			}
			return
		}
		if len(problems) > 0 || !reflect.DeepEqual(app, again) {
			t.Errorf("reads differently: %v\n%s\n%+v\nexpected\n%+v", problems, printed, again, app)
		}
		for _, s := range app.Services {
			if diff := DiffShape(Shape(s), Shape(s)); diff != nil {
				t.Errorf("a shape differs from itself in %v", diff)
			}
		}
	})
}
