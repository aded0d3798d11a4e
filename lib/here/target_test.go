package here

import (
	"os"
	"path/filepath"
	"testing"

	"svckit/lib/fault"
)

const shopSpec = `app: shop
build: {dockerfile: Dockerfile, image: registry.example/shop}
services:
  web: {port: 8000}
  worker: {kind: daemon}
`

func TestATargetIsReadInItsFolder(t *testing.T) {
	tests := []struct {
		name string
		spec string // "" is a folder without one
		arg  string
		want string
		kind fault.Kind
	}{
		{"whole name", "", "shop/web", "shop/web", fault.OK},
		{"whole name in a folder of another app", shopSpec, "blog/web", "blog/web", fault.OK},
		{"whole name beside a broken spec", "app: [", "shop/web", "shop/web", fault.OK},
		{"an app", "", "shop", "shop", fault.OK},
		{"a service of the folder", shopSpec, "worker", "shop/worker", fault.OK},
		{"the app of the folder", shopSpec, "shop", "shop", fault.OK},
		{"nothing, in a folder", shopSpec, "", "shop", fault.OK},
		{"another app, in a folder", shopSpec, "blog", "blog", fault.OK},
		{"nothing, nowhere", "", "", "", fault.Usage},
		{"a bad name", "", "Shop/web", "", fault.Usage},
		{"too many parts", "", "a/b/c", "", fault.Usage},
		{"an option in disguise", "", "../x", "", fault.Usage},
		{"a broken spec", "app: [", "web", "", fault.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := &Node{Folder: t.TempDir()}
			if tt.spec != "" {
				if err := os.WriteFile(filepath.Join(w.Folder, SpecFile), []byte(tt.spec), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, _, err := w.Target(tt.arg)
			if kind := fault.KindOf(err); kind != tt.kind {
				t.Fatalf("kind %s (%v), want %s", kind, err, tt.kind)
			}
			if err == nil && got.String() != tt.want {
				t.Errorf("target %s, want %s", got, tt.want)
			}
		})
	}
}
