package spec

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

func rendering(templates map[string]string) (Service, *Values) {
	s := Service{App: "shortener", Key: "web", Config: Config{Env: []string{"REDIS"}, Secrets: []string{"TOKEN"}}}
	for path := range templates {
		s.Config.Files = append(s.Config.Files, File{Template: path, To: "/etc/" + path})
	}
	return s, &Values{
		Env:     map[string]string{"REDIS": "redis://r:6379", "QUOTED": `a "b" <c> $d` + "\n", "EMPTY": "", "HOSTS": "a,b"},
		Secrets: map[string]string{"TOKEN": "hunter2-hunter2"},
	}
}

func TestRenderFilesGivesTemplatesConfigSecretsAndThePlace(t *testing.T) {
	templates := map[string]string{
		"b.json": `{"redis": {{config "REDIS" | json}}, "q": {{json (config "QUOTED")}}, "token": {{secret "TOKEN" | quote}}}`,
		"a.conf": `{{.App}}/{{.Service}} {{.Release}} {{.Node}} {{.Zone}} {{.Datacenter}}` + "\n" +
			`{{range split "," (config "HOSTS")}}host {{.}};{{end}}{{range split "," ""}}never{{end}}` +
			`{{if has "REDIS"}} yes{{end}}{{if has "NONE"}} no{{end}} {{config "NONE" "fall back"}} {{config "EMPTY" | default "full"}}` +
			`{{printf " %-4s|%5.1f" "x" 2.25}} {{print "a" 1}} {{urlquery "a b"}} {{html "<"}}{{define "x"}}[{{.}}]{{end}}{{template "x" "in"}}`,
	}
	s, v := rendering(templates)
	about := About{App: "shortener", Service: "web", Release: "r1", Node: "n1", Zone: "a", Datacenter: "dc1"}
	if bad := RenderFiles(s, templates, v, about); len(bad) > 0 {
		t.Fatal(bad)
	}
	want := []Rendered{
		{To: "/etc/a.conf", Content: []byte("shortener/web r1 n1 a dc1\nhost a;host b; yes fall back full x   |  2.2 a1 a+b &lt;[in]")},
		{To: "/etc/b.json", Content: []byte(`{"redis": "redis://r:6379", "q": "a \"b\" <c> $d\n", "token": "hunter2-hunter2"}`)},
	}
	if !reflect.DeepEqual(v.Files, want) {
		t.Errorf("got\n%s\n%s\nexpected\n%s\n%s", v.Files[0].Content, v.Files[1].Content, want[0].Content, want[1].Content)
	}
}

func TestRenderFilesReportsEveryMissingKeyWithItsLine(t *testing.T) {
	templates := map[string]string{
		"a.conf": "x {{config \"A\"}}\n{{range 3}}{{\"B\" | config}}{{secret \"C\"}}{{end}}\n{{config \"TOKEN\"}} {{secret \"REDIS\"}}\n{{if false}}{{config \"NEVER\"}}{{end}}",
		"b.conf": "\n\n{{config \"D\"}}{{template \"t\"}}{{define \"t\"}}{{json (config \"E\")}}{{end}}",
	}
	s, v := rendering(templates)
	s.Config.Files = []File{{"a.conf", "/a"}, {"b.conf", "/b"}, {"gone.conf", "/c"}}
	var got []string
	for _, p := range RenderFiles(s, templates, v, About{}) {
		got = append(got, p.String())
	}
	want := []string{
		`a.conf:1: config "A" is missing: set it in Consul, or give a fallback as second argument`,
		`a.conf:2: config of a computed key is missing`,
		`a.conf:2: secret "C" is missing: it is not named in config.secrets of the service`,
		`a.conf:3: config "TOKEN" is missing: there is a secret of that name, write secret "TOKEN"`,
		`a.conf:3: secret "REDIS" is missing: there is a config key of that name, write config "REDIS"`,
		`b.conf:3: config "D" is missing: set it in Consul, or give a fallback as second argument`,
		`b.conf:3: config "E" is missing: set it in Consul, or give a fallback as second argument`,
		`gone.conf: the template is not there`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nexpected\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if v.Files != nil {
		t.Errorf("files are set although something is missing: %v", v.Files)
	}
}

func TestABadTemplateIsAProblemWithItsPlaceAndWithoutAnyValue(t *testing.T) {
	for name, row := range map[string]struct{ text, want string }{
		"syntax":               {"ok\n{{if}}", `t:2: missing value for if`},
		"unknown function":     {"{{readFile \"/etc/passwd\"}}", `t:1: function "readFile" not defined`},
		"the counter is ours":  {"{{tick -1000000}}", `t:1: function "tick" not defined`},
		"unknown field":        {"{{.Password}}", `t:1: can't evaluate field Password in type spec.About`},
		"range over a secret":  {"{{range (secret \"TOKEN\")}}{{end}}", `t:1: range can't iterate over this: expected a list, such as split makes one, or a number`},
		"secret as a key":      {"{{config (secret \"TOKEN\")}}", `t:1: config of a computed key is missing`},
		"index out of range":   {"{{index (split \",\" \"a\") 3}}", `t:1: error calling index: index out of range: 3`},
		"endless loop":         {"{{range 1000000000}}{{end}}", `t:1: the template runs too long`},
		"endless recursion":    {"{{define \"a\"}}{{template \"a\"}}{{template \"a\"}}{{end}}{{template \"a\"}}", `t:1: the template runs too long`},
		"endless output":       {"{{range 10000}}" + strings.Repeat("x", 200) + "{{end}}", `t: the result is larger than 1048576 bytes`},
		"doubling":             {"{{$x := \"xxxxxxxx\"}}{{range 100}}{{$x = print $x $x}}{{end}}", `t:1: the text is larger than 1048576 bytes`},
		"many large texts":     {"{{$x := printf \"%999d\" 1}}{{range 9}}{{$x = print $x $x}}{{end}}{{range 99}}{{$y := print $x}}{{end}}", `t:1: the template makes more than 16777216 bytes on its way`},
		"wide verbs":           {"{{printf \"%1000000d\" 1}}", `t:1: printf takes widths of at most 999, no * and no [n]`},
		"wide verbs by a star": {"{{printf \"%*d\" 1000000 1}}", `t:1: printf takes widths of at most 999, no * and no [n]`},
		"argument used again":  {"{{printf \"%[1]s%[1]s\" \"a\"}}", `t:1: printf takes widths of at most 999, no * and no [n]`},
		"config without a key": {"{{config}}", `t:1: expected config "KEY" or config "KEY" "FALLBACK"`},
		"a forged site":        {"{{config 0 \"KEY\"}}", `t:1: expected config "KEY" or config "KEY" "FALLBACK"`},
		"config as a value":    {"{{json config}}", `t:1: expected config "KEY" or config "KEY" "FALLBACK"`},
		"too large":            {strings.Repeat("x", 300<<10), `t: the template has 307200 bytes, expected at most 262144`},
	} {
		t.Run(name, func(t *testing.T) {
			templates := map[string]string{"t": row.text}
			s, v := rendering(templates)
			bad := RenderFiles(s, templates, v, About{})
			got := fmt.Sprint(bad)
			if len(bad) != 1 || bad[0].String() != row.want {
				t.Errorf("got %s\nexpected %s", got, row.want)
			}
			if strings.Contains(got, "hunter2") {
				t.Errorf("a secret is in the message: %s", got)
			}
		})
	}
}

func FuzzRenderFilesIsBoundedAndNeverShowsASecret(f *testing.F) {
	f.Add(`{{config "REDIS" | json}} {{secret "TOKEN"}}`, "v")
	f.Add(`{{range $i, $x := split "," (config "HOSTS")}}{{$i}}{{$x}}{{else}}{{break}}{{end}}`, "a,b")
	f.Add(`{{define "a"}}{{template "a" .}}{{end}}{{block "b" .}}{{printf "%-10s" .App}}{{end}}`, "")
	f.Add(`{{with $x := secret "TOKEN"}}{{index $x 1}}{{slice $x 1 2}}{{eq $x "a"}}{{len $x}}{{call $x}}{{end}}`, "")
	f.Add(`{{range (secret "TOKEN")}}{{.Foo}}{{end}}{{(secret "TOKEN").Foo}}{{template (secret "TOKEN")}}`, "")
	f.Fuzz(func(t *testing.T, text, value string) {
		const secret = "s3cr3t-Zq9-s3cr3t"
		s := Service{Config: Config{Secrets: []string{"TOKEN"}, Files: []File{{"t", "/t"}}}}
		v := &Values{Env: map[string]string{"REDIS": value, "HOSTS": "a,b"}, Secrets: map[string]string{"TOKEN": secret}}
		bad := RenderFiles(s, map[string]string{"t": text}, v, About{App: "a"})
		for _, p := range bad {
			if strings.Contains(p.String(), secret) || strings.Contains(p.String(), "\n") || p.Msg == "" {
				t.Errorf("bad message: %q", p)
			}
		}
		if len(bad) == 0 && (len(v.Files) != 1 || len(v.Files[0].Content) > maxRendered) {
			t.Errorf("no problem, and files %d", len(v.Files))
		}
	})
}
