package spec

import (
	"maps"
	"reflect"
	"strings"
	"testing"
)

func web(env, secrets []string) Service {
	return Service{App: "shortener", Key: "web", Config: Config{Env: env, Secrets: secrets}}
}

func texts(problems []Problem) (out []string) {
	for _, p := range problems {
		out = append(out, p.String())
	}
	return out
}

func TestMergeConfigLetsServiceWinOverAppOverShared(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	v, bad := MergeConfig(web([]string{"A", "B"}, []string{"TOKEN"}), Layers{
		Shared:  map[string]string{"A": "shared", "B": "shared", "C": "shared", "EMPTY": "shared"},
		App:     map[string]string{"B": "app", "C": "app", "LONG": long},
		Service: map[string]string{"C": "service", "EMPTY": ""},
		Secrets: map[string]string{"TOKEN": "t\x00\xff", "OTHER": "not asked for"},
	})
	want := Values{
		Env:     map[string]string{"A": "shared", "B": "app", "C": "service", "EMPTY": "", "LONG": long},
		Origin:  map[string]string{"A": "shared", "B": "app", "C": "service", "EMPTY": "service", "LONG": "app"},
		Secrets: map[string]string{"TOKEN": "t\x00\xff"},
	}
	if len(bad) > 0 || !reflect.DeepEqual(v, want) {
		t.Errorf("got %v, %v", v, bad)
	}
}

func TestMergeConfigListsEveryMissingKeyWithWhereItWasLookedFor(t *testing.T) {
	_, bad := MergeConfig(web([]string{"DATABASE_URL", "REDIS"}, []string{"SESSION_KEY", "TOKEN"}), Layers{
		Prefix:  "team/svc",
		Skipped: []string{"team/svc/apps/shortener/config/REDIS_OLD: larger than 512 KiB", "team/svc/shared/config/REDIS: larger than 512 KiB"},
	})
	want := []string{
		"config.env.DATABASE_URL: missing: looked for team/svc/apps/shortener/web/config/DATABASE_URL, team/svc/apps/shortener/config/DATABASE_URL, team/svc/shared/config/DATABASE_URL",
		"config.env.REDIS: missing: looked for team/svc/apps/shortener/web/config/REDIS, team/svc/apps/shortener/config/REDIS, team/svc/shared/config/REDIS; skipped: team/svc/shared/config/REDIS: larger than 512 KiB",
		"config.secrets.SESSION_KEY: missing: looked for team/svc/apps/shortener/secrets/SESSION_KEY",
		"config.secrets.TOKEN: missing: looked for team/svc/apps/shortener/secrets/TOKEN",
	}
	if !reflect.DeepEqual(texts(bad), want) {
		t.Errorf("got\n%s\nexpected\n%s", strings.Join(texts(bad), "\n"), strings.Join(want, "\n"))
	}
}

func TestMergeConfigRefusesWhatCannotBeAnEnvironmentVariable(t *testing.T) {
	fits := strings.Repeat("x", 128<<10-len("FITS")-2)
	_, bad := MergeConfig(web(nil, []string{"TOKEN"}), Layers{
		Shared:  map[string]string{"a-b": "", "1A": "", "a/b": "", "": "", "SVC_NODE": "x", "OVERRIDDEN": "\x00", "FITS": fits, "TOKEN": "geheim"},
		App:     map[string]string{"NUL": "a\x00b", "BINARY": "\xff", "LONG1": fits},
		Service: map[string]string{"OVERRIDDEN": "fine"},
		Secrets: map[string]string{"TOKEN": "geheim"},
	})
	name := "expected a key of at most 128 letters, digits and _, not beginning with a digit: it becomes an environment variable"
	want := []string{
		"svc/shared/config/: " + name,
		"svc/shared/config/1A: " + name,
		"svc/shared/config/SVC_NODE: keys that begin with SVC_ are reserved",
		"svc/shared/config/TOKEN: is a secret of this service: as config it would be passed in the environment; keep it under secrets/ only",
		"svc/shared/config/a-b: " + name,
		"svc/shared/config/a/b: " + name,
		"svc/apps/shortener/config/BINARY: is not UTF-8 text, which the engine would change in an environment variable: make it a secret, which is a file",
		"svc/apps/shortener/config/LONG1: has 131066 bytes, an environment variable of this name at most 131065: make it a secret, which is a file",
		"svc/apps/shortener/config/NUL: has a NUL byte, which no environment variable can hold: make it a secret, which is a file",
	}
	if !reflect.DeepEqual(texts(bad), want) {
		t.Errorf("got\n%s\nexpected\n%s", strings.Join(texts(bad), "\n"), strings.Join(want, "\n"))
	}
	if strings.Contains(strings.Join(texts(bad), ""), "geheim") {
		t.Error("a value is in a message")
	}
}

func TestMergeConfigBoundsAllVariablesAndSecretsTogether(t *testing.T) {
	l := Layers{App: map[string]string{}, Secrets: map[string]string{}}
	for _, k := range strings.Split("A B C D E F G H I J K", " ") {
		l.App[k] = strings.Repeat("x", 100<<10)
		l.Secrets["S"+k] = strings.Repeat("x", 400<<10)
	}
	s := web(nil, []string{"SA", "SB", "SC", "SD", "SE", "SF", "SG", "SH", "SI", "SJ", "SK"})
	_, bad := MergeConfig(s, l)
	want := []string{
		"config: all variables together have 1126433 bytes, at most 1048576 fit: make large ones secrets, which are files",
		"config.secrets: all secrets together have 4505600 bytes, expected at most 4194304",
	}
	if !reflect.DeepEqual(texts(bad), want) {
		t.Errorf("got %q, expected %q", texts(bad), want)
	}
}

func FuzzMergeConfigGivesOnlyWhatAnEnvironmentCanHold(f *testing.F) {
	f.Add("A", "1", "B", "2", "TOKEN", "x")
	f.Add("TOKEN", "\x00", "a-b", "\xff", "A", "s3cr3t-Zq9")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2, secret, value string) {
		l := Layers{Shared: map[string]string{k1: v1}, App: map[string]string{k2: v2}, Secrets: map[string]string{secret: "s3cr3t-Zq9" + value}}
		before := maps.Clone(l.App)
		v, bad := MergeConfig(web([]string{"A"}, []string{"TOKEN"}), l)
		if !maps.Equal(before, l.App) {
			t.Error("the layers were changed")
		}
		for _, p := range bad {
			if strings.Contains(p.Msg, "s3cr3t-Zq9") {
				t.Errorf("a secret is in %q", p.Msg)
			}
		}
		if len(bad) > 0 {
			return
		}
		if _, ok := v.Env["A"]; !ok {
			t.Error("a required key is missing without a problem")
		}
		for k, val := range v.Env {
			if !keySyntax.MatchString(k) || strings.ContainsRune(val, 0) || k == "TOKEN" || v.Origin[k] == "" {
				t.Errorf("variable %q=%q from %q", k, val, v.Origin[k])
			}
		}
	})
}
