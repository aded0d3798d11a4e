//go:build real

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"svckit/lab"
	"svckit/lib/consul"
	"svckit/lib/fleet"
	"svckit/lib/scale"
)

// browser is a tab of a headless Chromium with a profile of its own.
type browser struct {
	t     *testing.T
	ctx   context.Context
	shots string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(lab.Chromium(t)), chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(time.Minute),
	}
	for _, flag := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-dev-shm-usage"} {
		options = append(options, chromedp.Flag(flag, true))
	}
	all, stop := chromedp.NewExecAllocator(t.Context(), options...)
	ctx, end := chromedp.NewContext(all)
	b := &browser{t: t, ctx: ctx, shots: os.Getenv("SVCKIT_TEST_SHOTS")}
	t.Cleanup(func() { end(); stop() })
	if b.shots == "" {
		b.shots = t.TempDir()
	}
	if err := chromedp.Do(ctx); err != nil { // it lives as long as the context of its first action
		t.Fatalf("start chromium: %v", err)
	}
	return b
}

// do does actions, all within a minute.
func (b *browser) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	tell(b, what, chromedp.Steps(actions...))
}

// tell does one action that says something.
func tell[T any](b *browser, what string, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	out, err := chromedp.Run(ctx, action)
	if err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
	return out
}

// eval evaluates an expression in the page.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	return tell(b, expression, chromedp.Evaluate[T](expression))
}

// open goes to a page and waits for what it is about.
func (b *browser) open(url string) {
	b.t.Helper()
	b.do("open "+url, chromedp.Navigate(url), chromedp.WaitReady(chromedp.CSS("main")))
}

func (b *browser) text() string {
	b.t.Helper()
	return tell(b, "text", chromedp.Text(chromedp.CSS("main")))
}

// shot keeps a picture of the whole page, for people to look at.
func (b *browser) shot(name string) {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.shots, name+".png"), tell(b, "picture", chromedp.FullScreenshot(100)), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// script lets pages run scripts, or not.
func (b *browser) script(on bool) {
	b.t.Helper()
	b.do("scripts", chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
		return err
	}))
}

// look sets how pages are looked at.
func (b *browser) look(scheme string, width int64) {
	b.t.Helper()
	b.do("look", chromedp.EmulateViewport(width, 900), chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
		return err
	}))
}

// audit is run in the page: what is wrong with it for people who see little, hear it, or use no mouse.
const audit = `(() => {
  const wrong = [], say = (e, what) => wrong.push(what + ": " + e.outerHTML.slice(0, 120));
  const light = (c) => c.slice(0, 3).map((v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
  const colour = (text) => text.match(/[\d.]+/g).map(Number);
  const ground = (e) => { for (; e; e = e.parentElement) { const c = colour(getComputedStyle(e).backgroundColor); if (c[3] !== 0) return c; } return [255, 255, 255]; };
  const names = [...document.querySelectorAll("h1, h2, h3")].map((h) => +h.tagName[1]);
  if (names.filter((n) => n === 1).length !== 1 || names.some((n, i) => i && n > names[i - 1] + 1)) wrong.push("headings " + names);
  if (document.documentElement.lang !== "en" || !document.title) wrong.push("no language or no title");
  if (document.querySelectorAll("main").length !== 1) wrong.push("not one main part");
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  if (new Set(ids).size !== ids.length) wrong.push("an id is there twice");
  for (const t of document.querySelectorAll("table")) {
    if (!t.caption && !t.getAttribute("aria-labelledby") && !t.getAttribute("aria-label")) say(t, "a table without a name");
    for (const h of t.querySelectorAll("th")) if (!h.scope || !h.innerText.trim()) say(h, "a heading of a table without scope or text");
    const columns = t.tHead.rows[0].cells.length;
    for (const r of t.tBodies[0].rows) if ([...r.cells].reduce((n, c) => n + c.colSpan, 0) !== columns) say(r, "a row of another width");
  }
  for (const e of document.querySelectorAll("[aria-labelledby], [aria-describedby]"))
    for (const a of ["aria-labelledby", "aria-describedby"]) if (e.getAttribute(a) && !document.getElementById(e.getAttribute(a))) say(e, "named by nothing");
  for (const s of document.querySelectorAll("svg")) if (s.getAttribute("aria-hidden") !== "true" && !(s.getAttribute("role") === "img" && s.getAttribute("aria-label"))) say(s, "a picture without words");
  for (const a of document.querySelectorAll("a")) if (!a.innerText.trim()) say(a, "a link without words");
  for (const w of document.querySelectorAll(".wide")) if (w.scrollWidth > w.clientWidth && w.tabIndex < 0) say(w, "scrolls only with a mouse");
  if (document.documentElement.scrollWidth > innerWidth) wrong.push("the page is " + document.documentElement.scrollWidth + " wide in " + innerWidth);
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || seen.has(e) || e.closest("script, style, title")) continue;
    seen.add(e);
    const style = getComputedStyle(e), ink = colour(e.closest("svg") ? style.fill : style.color);
    const [a, b] = [light(ink), light(ground(e))].sort((x, y) => y - x), ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) say(e, "contrast " + ratio.toFixed(1));
    if (e.getBoundingClientRect().height < 8) say(e, "letters that nobody can read");
  }
  for (const p of document.querySelectorAll("svg path:not(.grid)")) {
    const [a, b] = [light(colour(getComputedStyle(p).stroke)), light(ground(p))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 3) say(p, "a curve that is hardly seen");
  }
  return wrong;
})()`

const nasty = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`

// shownFleet is a planner with a page, and a fleet with something of everything to show.
func shownFleet(t *testing.T) (url string, c *consul.Client, env []string) {
	t.Helper()
	a, c, n, env := fleetOfOne(t)
	var tick atomic.Int64
	busy := func(s *fleet.Sample) {
		load := 6 + float64(tick.Add(1)%9)
		s.Load, s.CPUUsed = 2.5, 2.5
		for i := range s.Services {
			s.Services[i].Requests = &fleet.Requests{Rate1: load, Rate10: load, Rate60: load, Done10: load, Done60: load, Marks: true, Busy: load / 2, Busy10: load / 2, Busy60: load / 2, Service: 0.5, CV2: 1}
		}
	}
	n.lie.Store(&busy)
	appOf(t, c, "shop", "web", followedWeb)
	appOf(t, c, "a-rather-long-name-of-an-app", "and-of-its-service", followedWeb)
	appOf(t, c, "mail", "out", fixedFour)
	put := func(key, value string) {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, a.URL()+"/v1/kv/"+key, strings.NewReader(value))
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
	}
	put("svc/scale/want/%3Cscript%3Edocument.title='owned'%3C%2Fscript%3E", nasty)
	if err := c.Freeze(t.Context(), "mail/out", scale.Freeze{Mode: scale.NoDown, Until: time.Now().Add(time.Hour).Unix(), Who: nasty, Why: "over the sale " + nasty}); err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("127.0.0.1:%d", lab.FreePorts(t, 1)[0])
	start(t, env, "run", "--listen", at)
	soon(t, time.Minute, "it plans", toldOf(t.Context(), c, a.Node, "mail/out", 4))
	return "http://" + at + "/", c, env
}

// setSize sets a service by hand.
func setSize(t *testing.T, c *consul.Client, service string, n int, why string) {
	t.Helper()
	if _, err := c.SetHand(t.Context(), service, &scale.Hand{Size: &n, Who: "ana", Why: why}); err != nil {
		t.Fatal(err)
	}
}

// The page in a real browser: what people see, with and without JavaScript, in
// light and in dark, on a telephone, by keyboard and by ear.
func TestThePageInABrowser(t *testing.T) {
	t.Parallel()
	url, c, _ := shownFleet(t)
	b := newBrowser(t)
	t.Run("without JavaScript", func(t *testing.T) { b.t = t; withoutScript(b, url) })
	t.Run("live, and focus stays", func(t *testing.T) { b.t = t; liveUpdates(b, url, c) })
	t.Run("hostile texts are texts", func(t *testing.T) { b.t = t; hostileTexts(b, url) })
	t.Run("for everybody", func(t *testing.T) { b.t = t; forEverybody(b, url) })
	t.Run("by keyboard", func(t *testing.T) { b.t = t; byKeyboard(b, url) })
}

func withoutScript(b *browser, url string) {
	b.script(false)
	defer b.script(true)
	soon(b.t, time.Minute, "the fleet is there, alarms first", func() error {
		b.open(url)
		text := b.text()
		alarm, frozen, services := strings.Index(text, "unreadable"), strings.Index(text, "Frozen: mail/out (no-down) until "), strings.Index(text, "Services")
		if alarm < 0 || frozen < alarm || services < frozen || !strings.Contains(text, "shop/web") {
			return fmt.Errorf("%s", text)
		}
		return nil
	})
	if title := tell(b, "title", chromedp.Title()); !strings.Contains(title, "alarm") {
		b.t.Errorf("the title is %q, which says nothing of alarms", title)
	}
	soon(b.t, time.Minute, "a service's page has its chart", func() error {
		b.open(url)
		b.do("click", chromedp.Click(chromedp.CSS(`a[href="/service/shop/web"]`)), chromedp.WaitReady(chromedp.CSS("h1 a")))
		text := b.text()
		if !strings.Contains(text, "What each source wants") || !strings.Contains(text, "requests") || strings.Contains(text, "has not led for long enough") {
			return fmt.Errorf("%s", text)
		}
		if curve := tell(b, "chart", chromedp.AttributeValue(chromedp.CSS("svg.chart path.demand"), "d")); strings.Count(curve.Value, "L") < 2 {
			return fmt.Errorf("its curve is %q", curve.Value)
		}
		return nil
	})
}

func liveUpdates(b *browser, url string, c *consul.Client) {
	b.open(url)
	eval[bool](b, `document.querySelector('a[href="/service/mail/out"]').focus(), window.alarm = document.querySelector("[role=alert] > *"), window.same = true`)
	setSize(b.t, c, "mail/out", 7, "campaign")
	soon(b.t, time.Minute, "the size is there without a reload", func() error {
		row := eval[string](b, `document.querySelector('a[href="/service/mail/out"]').closest("tr").innerText`)
		if !strings.Contains(row, "\t7\t") {
			return fmt.Errorf("%q", row)
		}
		return nil
	})
	if !eval[bool](b, `window.same === true && document.activeElement.getAttribute("href") === "/service/mail/out"`) {
		b.t.Error("the page was loaded again, or who uses a keyboard lost the place")
	}
	if !eval[bool](b, `window.alarm.isConnected`) {
		b.t.Error("an alarm that goes on is announced again by each update")
	}
}

func hostileTexts(b *browser, url string) {
	for _, path := range []string{"", "service/mail/out"} {
		b.open(url + path)
		if got := eval[string](b, `document.title`); strings.Contains(got, "owned") || eval[int](b, `document.querySelectorAll("main img, main script").length`) != 0 {
			b.t.Errorf("%s: a text of others became part of the page: %s", path, got)
		}
		if text := eval[string](b, `document.querySelector("main").innerText`); !strings.Contains(text, nasty) {
			b.t.Errorf("%s: the text is not shown as it is", path)
		}
	}
}

func forEverybody(b *browser, url string) {
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{1280, 390} {
			b.look(scheme, width)
			for name, path := range map[string]string{"fleet": "", "service": "service/shop/web"} {
				b.open(url + path)
				for _, wrong := range eval[[]string](b, audit) {
					b.t.Errorf("%s, %s, %d wide: %s", name, scheme, width, wrong)
				}
				b.shot(fmt.Sprintf("%s-%s-%d", name, scheme, width))
			}
		}
	}
	b.look("light", 1280)
}

func byKeyboard(b *browser, url string) {
	b.open(url)
	links := eval[int](b, `document.querySelectorAll("a").length`)
	reached := map[string]bool{}
	for range links + 8 {
		b.do("tab", chromedp.KeyEvent(kb.Tab))
		at := eval[[]string](b, `((e) => [e.tagName, e.getAttribute("href") || "", getComputedStyle(e).outlineStyle, getComputedStyle(e).outlineWidth])(document.activeElement)`)
		if at[0] == "A" {
			reached[at[1]] = true
			if at[2] == "none" || at[3] == "0px" {
				b.t.Errorf("nobody sees that %s has the focus", at[1])
			}
		}
	}
	for _, want := range []string{"/service/shop/web", "/service/mail/out"} {
		if !reached[want] {
			b.t.Errorf("%s is not reached by Tab: %v", want, reached)
		}
	}
	b.do("enter", chromedp.Focus(chromedp.CSS(`a[href="/service/shop/web"]`)), chromedp.KeyEvent(kb.Enter), chromedp.WaitVisible(chromedp.CSS("svg.chart")))
}

// Beyond the loopback the page asks who is there, and does not start without knowing whom to let in.
func TestThePageBeyondTheLoopbackInABrowser(t *testing.T) {
	t.Parallel()
	ip := outside(t)
	_, c, _, env := fleetOfOne(t)
	appOf(t, c, "shop", "web", fixedFour)
	at := fmt.Sprintf("%s:%d", ip, lab.FreePorts(t, 1)[0])
	open := start(t, env, "run", "--listen", at)
	<-open.done
	if code := open.cmd.ProcessState.ExitCode(); code != 17 {
		t.Errorf("without a token it ended with %d: %s", code, open.says())
	}
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("token-of-this-test-only\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, append(env[:len(env):len(env)], "SVC_SCALED_TOKEN_FILE="+token), "run", "--listen", at)
	soon(t, time.Minute, "it asks who is there", func() error {
		res, err := http.Get("http://" + at + "/")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Basic") {
			return fmt.Errorf("%s", res.Status)
		}
		return nil
	})
	b := newBrowser(t)
	soon(t, time.Minute, "who knows the token sees the fleet", func() error {
		b.open("http://ana:token-of-this-test-only@" + at + "/")
		if text := b.text(); !strings.Contains(text, "shop/web") {
			return fmt.Errorf("%s", text)
		}
		return nil
	})
	eval[bool](b, `window.same = true`)
	setSize(t, c, "shop/web", 6, "more")
	soon(t, time.Minute, "live updates know it too", func() error {
		if row := eval[string](b, `document.querySelector('a[href="/service/shop/web"]').closest("tr").innerText`); !strings.Contains(row, "\t6\t") {
			return fmt.Errorf("%q", row)
		}
		return nil
	})
	if !eval[bool](b, `window.same === true`) {
		t.Error("the page was loaded again")
	}
}

// outside is an address of this lab that is not of the loopback.
func outside(t *testing.T) string {
	t.Helper()
	list, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	t.Fatal("the lab has no address but the loopback's")
	return ""
}
