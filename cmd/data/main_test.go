package main

import (
	"bytes"
	"net/http"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"relsim/command/script"
	"relsim/hub/hubtest"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"data": main}) }

func TestScripts(t *testing.T) {
	script.Run(t, map[string]script.Command{"lines": lines}, func(env *testscript.Env) error {
		hub := hubtest.New(env.T().(testing.TB))
		hub.Add("org/model", &hubtest.Model{Files: map[string][]byte{
			"config.json":       []byte("{}\n"),
			"tokenizer.json":    []byte("{ }\n"),
			"model.safetensors": bytes.Repeat([]byte("weights\n"), 1<<17),
			"pytorch_model.bin": []byte("not read"),
		}})
		hub.Add("org/gated", &hubtest.Model{Token: "hf_secret", Error: "GatedRepo", Files: map[string][]byte{
			"config.json": []byte("{}\n"), "model.safetensors": []byte("weights"),
		}})
		hub.Add("org/pickled", &hubtest.Model{Files: map[string][]byte{"config.json": nil, "pytorch_model.bin": []byte("pickle")}})
		hub.Add("org/slow", &hubtest.Model{Files: map[string][]byte{"config.json": nil, "model.safetensors": bytes.Repeat([]byte("slow\n"), 1<<20)}})
		hub.Intercept(func(w http.ResponseWriter, r hubtest.Request) bool {
			slow := r.Storage && r.URL.Path == "/org/slow/model.safetensors" && r.Header.Get("Range") == ""
			if slow { // half of the file, then nothing until the client has gone
				w.Header().Set("Content-Length", strconv.Itoa(len(r.Body)))
				w.Write(r.Body[:len(r.Body)/2])
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			}
			return slow
		})
		env.Setenv("HF_ENDPOINT", hub.URL)
		env.Setenv("HF_HUB_OFFLINE", "")
		env.Setenv("HF_HUB_CACHE", env.WorkDir+"/cache")
		env.Setenv("HF_HOME", env.WorkDir+"/home")
		return pictures(env)
	})
}

// lines checks the number of lines of a file: lines FILE N
func lines(ts *testscript.TestScript, _ bool, args []string) {
	n := 0
	for _, c := range ts.ReadFile(args[0]) {
		if c == '\n' {
			n++
		}
	}
	if strconv.Itoa(n) != args[1] {
		ts.Fatalf("%s has %d lines, want %s", args[0], n, args[1])
	}
}
