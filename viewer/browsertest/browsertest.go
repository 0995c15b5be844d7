// Package browsertest drives a real browser in tests: Chromium, through its DevTools protocol.
//
// [Start] starts one, or skips the test where there is none: the variable CHROME names its program; without it
// chromium, google-chrome and their like are looked for on the path (Debian: apt-get install chromium). A test opens as
// many tabs as it likes. What a page writes to its console as an error or a warning, what its Content-Security-Policy
// refuses, and every exception that nothing catches fail the test, unless it says that they are expected.
package browsertest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Keys of [Tab.Press] that are no characters.
const (
	ArrowDown  = kb.ArrowDown
	ArrowLeft  = kb.ArrowLeft
	ArrowRight = kb.ArrowRight
	ArrowUp    = kb.ArrowUp
	Backspace  = kb.Backspace
	End        = kb.End
	Enter      = kb.Enter
	Escape     = kb.Escape
	Home       = kb.Home
	KeyTab     = kb.Tab
)

// patience bounds what a tab waits for at once, and limit all that is done in it.
const (
	patience = 20 * time.Second
	limit    = 3 * time.Minute
)

// names are those that the program has, in the order in which they are tried.
var names = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "headless-shell"}

// Find returns the path of the browser's program, or an error that says where it was looked for.
func Find() (string, error) {
	if path := os.Getenv("CHROME"); path != "" {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", fmt.Errorf("browsertest: CHROME: %w", err)
		}
		return found, nil
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	for _, path := range []string{"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", `C:\Program Files\Google\Chrome\Application\chrome.exe`} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("browsertest: no browser: none of %s is on the path, and CHROME is not set", strings.Join(names, ", "))
}

// Browser is a running browser with a profile of its own.
type Browser struct {
	ctx context.Context
}

// Start starts a browser that ends with the test. It skips the test where there is none.
func Start(t testing.TB) *Browser {
	t.Helper()
	path, err := Find()
	if err != nil {
		if os.Getenv("CHROME") != "" {
			t.Fatal(err) // it was asked for
		}
		t.Skipf("NOT RUN: %v", err)
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.DisableGPU, chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-domain-reliability", true))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium has no sandbox for root; it shows our own pages only
	}
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	ctx, stop := chromedp.NewContext(ctx)
	t.Cleanup(stop)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("browsertest: start %s: %v", path, err)
	}
	return &Browser{ctx}
}

// Options say what a tab looks like. The zero value is a window of 1280×800 that prefers light colours.
type Options struct {
	Width, Height int  // of the viewport, in CSS pixels; 0: 1280×800
	Phone         bool // touch, and a viewport as phones have it, 390×844 unless a size is given
	Dark          bool // prefers-color-scheme: dark
	Still         bool // prefers-reduced-motion: reduce
	Noisy         bool // what the console shows does not fail the test: it is in [Tab.Console]
}

// Tab is a page of the browser. Its methods end the test if they fail.
type Tab struct {
	t       testing.TB
	ctx     context.Context
	console *console
}

// console keeps what the browser's console shows of trouble.
type console struct {
	mu    sync.Mutex
	lines []string
}

// Tab opens a tab, empty. It is closed at the end of the test.
func (b *Browser) Tab(t testing.TB, o Options) *Tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext()) // nothing is stored between tabs
	ctx, stop := context.WithTimeout(ctx, limit)
	t.Cleanup(func() { stop(); cancel() })
	tab := &Tab{t: t, ctx: ctx, console: new(console)}
	if err := chromedp.Listen(ctx, tab.heard); err != nil {
		t.Fatalf("browsertest: open a tab: %v", err)
	}
	if o.Width == 0 {
		o.Width, o.Height = 1280, 800
		if o.Phone {
			o.Width, o.Height = 390, 844
		}
	}
	var viewport []chromedp.EmulateViewportOption
	if o.Phone {
		viewport = append(viewport, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulateScale(2))
	}
	tab.do("set the viewport", chromedp.EmulateViewport(int64(o.Width), int64(o.Height), viewport...))
	scheme, motion := "light", "no-preference"
	if o.Dark {
		scheme = "dark"
	}
	if o.Still {
		motion = "reduce"
	}
	tab.do("set what the user prefers", func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: motion}}})
		return chromedp.Void{}, err
	})
	if !o.Noisy {
		t.Cleanup(func() {
			for _, line := range tab.Console() {
				t.Errorf("the browser's console: %s", line)
			}
		})
	}
	return tab
}

// For returns the same tab for a subtest, which is the one that fails then.
func (tab *Tab) For(t testing.TB) *Tab { return &Tab{t, tab.ctx, tab.console} }

// heard keeps what the console shows of trouble.
func (tab *Tab) heard(event any) {
	var line string
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type != "error" && e.Type != "warning" && e.Type != "assert" {
			return
		}
		var words []string
		for _, arg := range e.Args {
			word := string(arg.Value)
			if arg.Description != "" {
				word = arg.Description
			}
			words = append(words, word)
		}
		line = strings.Join(words, " ")
	case *runtime.EventExceptionThrown:
		line = e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil && e.ExceptionDetails.Exception.Description != "" {
			line += ": " + e.ExceptionDetails.Exception.Description
		}
	case *log.EventEntryAdded:
		if e.Entry.Level != "error" && e.Entry.Level != "warning" {
			return
		}
		line = e.Entry.Text
		if e.Entry.URL != "" {
			line += " (" + e.Entry.URL + ")"
		}
	default:
		return
	}
	tab.console.mu.Lock()
	defer tab.console.mu.Unlock()
	tab.console.lines = append(tab.console.lines, line)
}

// Console returns what the console has shown of errors and warnings.
func (tab *Tab) Console() []string {
	tab.console.mu.Lock()
	defer tab.console.mu.Unlock()
	return slices.Clone(tab.console.lines)
}

func (tab *Tab) do(what string, a chromedp.Action[chromedp.Void]) {
	tab.t.Helper()
	if err := chromedp.Do(tab.ctx, a); err != nil {
		tab.t.Fatalf("browsertest: %s: %v%s", what, err, tab.trouble())
	}
}

func (tab *Tab) trouble() string {
	if lines := tab.Console(); len(lines) > 0 {
		return "\nthe browser's console:\n" + strings.Join(lines, "\n")
	}
	return ""
}

// Goto shows the page at an address and waits until it is loaded.
func (tab *Tab) Goto(url string) {
	tab.t.Helper()
	tab.do("go to "+url, chromedp.Navigate(url))
}

// Reload loads the page again.
func (tab *Tab) Reload() {
	tab.t.Helper()
	tab.do("reload", chromedp.Reload())
}

// Eval evaluates an expression in the page, waits for it if it is a promise, and stores its JSON value in result, unless
// that is nil.
func (tab *Tab) Eval(expression string, result any) {
	tab.t.Helper()
	value, err := chromedp.Run(tab.ctx, chromedp.Evaluate[[]byte](expression, chromedp.EvalAwaitPromise))
	if err == nil && result != nil {
		err = json.Unmarshal(value, result)
	}
	if err != nil {
		tab.t.Fatalf("browsertest: evaluate %s: %v%s", expression, err, tab.trouble())
	}
}

// Text evaluates an expression whose value is a string.
func (tab *Tab) Text(expression string) string {
	tab.t.Helper()
	var s string
	tab.Eval(expression, &s)
	return s
}

// Number evaluates an expression whose value is a number.
func (tab *Tab) Number(expression string) float64 {
	tab.t.Helper()
	var n float64
	tab.Eval(expression, &n)
	return n
}

// True evaluates an expression and reports whether its value counts as true.
func (tab *Tab) True(expression string) bool {
	tab.t.Helper()
	var ok bool
	tab.Eval("!!("+expression+")", &ok)
	return ok
}

// Wait waits until the value of an expression counts as true, at most 20 seconds. A failure says what was waited for.
func (tab *Tab) Wait(expression string) {
	tab.t.Helper()
	for deadline := time.Now().Add(patience); !tab.True(expression); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			tab.t.Fatalf("browsertest: waited in vain for %s%s", expression, tab.trouble())
		}
	}
}

// Work returns the processor time that the page's main thread has spent since the first call, in ms: scripts, layout,
// painting, answers of the network. Other programs that are busy do not change it much.
func (tab *Tab) Work() float64 {
	tab.t.Helper()
	var ms float64
	tab.do("ask for the time of the main thread", func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		in := performance.EnableParams{TimeDomain: performance.EnableTimeDomainThreadTicks}
		if _, err := cdp.Call(ctx, target, performance.Enable, in); err != nil {
			return chromedp.Void{}, err
		}
		result, err := cdp.Call(ctx, target, performance.GetMetrics, cdp.Empty{})
		if err != nil {
			return chromedp.Void{}, err
		}
		at := slices.IndexFunc(result.Metrics, func(m *performance.Metric) bool { return m.Name == "TaskDuration" })
		if at < 0 {
			return chromedp.Void{}, errors.New("the browser does not know TaskDuration")
		}
		ms = 1000 * result.Metrics[at].Value
		return chromedp.Void{}, nil
	})
	return ms
}

// Press types characters or presses keys, wherever the focus is. As on a keyboard, a page that prevents what a key does
// by default gets no character of it.
func (tab *Tab) Press(keys string) {
	tab.t.Helper()
	tab.do("press "+keys, func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		for _, r := range keys {
			events := kb.Encode(r)
			if len(events) == 3 { // down, character, up: the character belongs to the first, which may be prevented
				events[0].Text, events[0].UnmodifiedText = events[1].Text, events[1].UnmodifiedText
				events = []*input.DispatchKeyEventParams{events[0], events[2]}
			}
			for _, e := range events {
				if _, err := cdp.Call(ctx, target, input.DispatchKeyEvent, *e); err != nil {
					return chromedp.Void{}, err
				}
			}
		}
		return chromedp.Void{}, nil
	})
}

// Click clicks with the mouse on the middle of the first element that fits a CSS selector, once it can be seen there and
// no picture in sight is still to come, which could move it away.
func (tab *Tab) Click(selector string) {
	tab.t.Helper()
	quoted, err := json.Marshal(selector)
	if err != nil {
		tab.t.Fatal(err)
	}
	look := `(() => {
		const e = document.querySelector(` + string(quoted) + `);
		if (!e) return null;
		e.scrollIntoView({block: "nearest", behavior: "instant"});
		const coming = i => { const r = i.getBoundingClientRect(); return !i.complete && r.bottom > 0 && r.top < innerHeight; };
		if ([...document.images].some(coming)) return null;
		const r = e.getBoundingClientRect(), x = r.x + r.width / 2, y = r.y + r.height / 2, top = document.elementFromPoint(x, y);
		return top && (e === top || e.contains(top)) ? [x, y] : null;
	})()`
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		var at []float64
		if tab.Eval(look, &at); at != nil {
			tab.do("click on "+selector, chromedp.MouseClickXY(at[0], at[1]))
			return
		}
		if time.Now().After(deadline) {
			tab.t.Fatalf("browsertest: click on %s: it cannot be seen%s", selector, tab.trouble())
		}
	}
}

// Screenshot writes what is to be seen to a PNG file, if folder is not empty: tests take the folder from the variable
// SCREENSHOTS, so that the pages can be looked at.
func (tab *Tab) Screenshot(folder, name string) {
	tab.t.Helper()
	if folder == "" {
		return
	}
	data, err := chromedp.Run(tab.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.MkdirAll(folder, 0o777)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, name+".png"), data, 0o666)
	}
	if err != nil {
		tab.t.Fatalf("browsertest: screenshot %s: %v", name, err)
	}
}
