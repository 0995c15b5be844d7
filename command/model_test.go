package command

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"relsim/hub"
	"relsim/hub/hubtest"
)

func modelServer(t *testing.T) hub.Options {
	server := hubtest.New(t)
	server.Add("org/model", &hubtest.Model{Files: map[string][]byte{
		"config.json": []byte("{}"), "model.safetensors": bytes.Repeat([]byte("weights\n"), 1<<18),
	}})
	return hub.Options{Endpoint: server.URL, Cache: filepath.Join(t.TempDir(), "cache"), Token: "hf_none"}
}

func TestModel(t *testing.T) {
	o := modelServer(t)
	var stderr bytes.Buffer
	dir, err := Model(context.Background(), "org/model", o, &stderr)
	if err != nil || !strings.HasPrefix(dir, o.Cache) {
		t.Errorf("%s, %v", dir, err)
	}
	if want := "org/model: downloading 2.1 MB into " + o.Cache + "\n"; stderr.String() != want {
		t.Errorf("stderr has %q, want %q", &stderr, want)
	}
	stderr.Reset()
	if again, err := Model(context.Background(), "org/model", o, &stderr); again != dir || err != nil || stderr.Len() > 0 {
		t.Errorf("again: %s, %v, stderr has %q", again, err, &stderr)
	}
	if folder, err := Model(context.Background(), dir, o, &stderr); folder != dir || err != nil {
		t.Errorf("a folder: %s, %v", folder, err)
	}
}

// TestModelBar: a bar on a terminal, which is gone in the end, unless it is not wanted.
func TestModelBar(t *testing.T) {
	for _, tt := range []struct {
		disabled string
		bar      bool
	}{{"", true}, {"0", true}, {"1", false}} {
		t.Setenv("HF_HUB_DISABLE_PROGRESS_BARS", tt.disabled)
		screen, terminal := openTerminal(t)
		shown := make(chan string)
		go func() { // what is read ends with an error when the terminal closes
			var all bytes.Buffer
			all.ReadFrom(screen)
			shown <- all.String()
		}()
		_, err := Model(context.Background(), "org/model", modelServer(t), terminal)
		if err != nil {
			t.Error(err)
		}
		terminal.Close()
		text := <-shown
		if !strings.Contains(text, "downloading 2.1 MB") || strings.Contains(text, "config.json   0% |") != tt.bar {
			t.Errorf("HF_HUB_DISABLE_PROGRESS_BARS=%s: the terminal shows %q, a bar is expected: %v", tt.disabled, text, tt.bar)
		}
		if last := text[strings.LastIndex(strings.TrimRight(text, "\r"), "\r")+1:]; tt.bar && strings.TrimSpace(last) != "" {
			t.Errorf("the bar stays on the terminal: %q", last)
		}
	}
}
