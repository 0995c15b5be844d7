package main

import (
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"relsim/command/script"
	"relsim/judge"
	"relsim/judge/judgetest"
)

// judges gives a script endpoints that behave in several ways, by the variables that hold their addresses.
func judges(e *testscript.Env) {
	for name, fault := range map[string]judgetest.Fault{
		"JUDGE": nil,
		"SLOW": func(http.ResponseWriter, *http.Request, judgetest.Pair) bool {
			time.Sleep(20 * time.Millisecond)
			return false
		},
		"FLAKY": func(w http.ResponseWriter, _ *http.Request, p judgetest.Pair) bool {
			switch p.Number {
			case 0:
				judgetest.Limit(w, "0.05")
			case 1, 2:
				w.Header().Set("Retry-After", "0.01")
				judgetest.Refuse(w, 503, "", "overloaded")
			default:
				return false
			}
			return true
		},
		"WRONGKEY": func(w http.ResponseWriter, _ *http.Request, p judgetest.Pair) bool {
			judgetest.Refuse(w, 401, "invalid_api_key", "Incorrect API key provided: "+p.Key)
			return true
		},
		"BLIND": func(w http.ResponseWriter, _ *http.Request, _ judgetest.Pair) bool {
			judgetest.Refuse(w, 400, "", "this model does not take pictures")
			return true
		},
		"PROSE": func(w http.ResponseWriter, _ *http.Request, p judgetest.Pair) bool {
			judgetest.Reply(w, judgetest.Completion{Model: p.Model + "-mini", Text: "They are alike, I think: 7 or 8."})
			return true
		},
	} {
		s := judgetest.New(judgetest.BySize)
		s.Fail(fault)
		e.Defer(s.Close)
		e.Setenv(name, s.URL)
		e.Values[name] = &judgeOf{Server: s}
	}
	for _, name := range []string{"OPENAI_API_KEY", "OPENAI_BASE_URL"} {
		e.Setenv(name, "")
	}
}

// judgeOf is an endpoint of a script, and how many questions of it the script has looked at.
type judgeOf struct {
	*judgetest.Server
	seen int
}

// judgeCommands are commands of scripts:
//
//	asked NAME N|more     so many questions have been answered since the last time
//	keys NAME KEY         all had this key
//	once FILE NAME N      of all questions answered since the last time, N at most are not in the file
//	locked FILE           holds the lock of a store until the script ends
var judgeCommands = map[string]script.Command{
	"asked": func(ts *testscript.TestScript, _ bool, args []string) {
		j := ts.Value(args[0]).(*judgeOf)
		n := len(j.Answered()) - j.seen
		j.seen += n
		if args[1] == "more" && n > 0 || args[1] == strconv.Itoa(n) {
			return
		}
		ts.Fatalf("%d questions were answered, want %s", n, args[1])
	},
	"keys": func(ts *testscript.TestScript, _ bool, args []string) {
		for _, p := range ts.Value(args[0]).(*judgeOf).Answered() {
			if p.Key != args[1] {
				ts.Fatalf("asked with the key %q", p.Key)
			}
		}
	},
	"once": func(ts *testscript.TestScript, _ bool, args []string) {
		j := ts.Value(args[1]).(*judgeOf)
		n := len(j.Answered()) - j.seen
		j.seen += n
		most, err := strconv.Atoi(args[2])
		ts.Check(err)
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		ts.Check(err)
		answers, err := judge.ReadStore(ts.MkAbs(args[0]))
		ts.Check(err)
		if lines := strings.Count(string(text), `{"answer":`); lines != len(answers) || n < lines || n > lines+most {
			ts.Fatalf("%d questions were answered, the file has %d lines, %d of them distinct", n, lines, len(answers))
		}
	},
	"locked": func(ts *testscript.TestScript, _ bool, args []string) {
		s, err := judge.OpenStore(ts.MkAbs(args[0]))
		ts.Check(err)
		ts.Defer(func() { s.Close() })
	},
}
