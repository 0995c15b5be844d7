package hub

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// settings are those of [Options], with the environment's where they have none.
type settings struct {
	cache    string
	endpoint *url.URL
	token    string
	from     string // where the token is from
	offline  bool
	stall    time.Duration
}

const (
	defaultEndpoint = "https://huggingface.co"
	defaultStall    = 30 * time.Second
	maxToken        = 4096
)

func (o Options) settings() (settings, error) {
	s := settings{cache: o.Cache, token: o.Token, from: "the options", offline: o.Offline, stall: defaultStall}
	for _, name := range []string{"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"} {
		s.offline = s.offline || Enabled(name)
	}
	var err error
	if s.cache == "" {
		if s.cache, err = cacheFolder(); err != nil {
			return s, err
		}
	}
	if s.cache, err = filepath.Abs(s.cache); err != nil {
		return s, err
	}
	endpoint := o.Endpoint
	if endpoint == "" {
		endpoint = environment("HF_ENDPOINT")
	}
	if endpoint == "" {
		endpoint = defaultEndpoint
	}
	s.endpoint, err = url.Parse(strings.TrimRight(endpoint, "/"))
	if err != nil || s.endpoint.Scheme != "https" && s.endpoint.Scheme != "http" || s.endpoint.Host == "" ||
		s.endpoint.RawQuery != "" || s.endpoint.Fragment != "" {
		return s, errors.New("HF_ENDPOINT is no address; one such as " + defaultEndpoint + " was expected")
	}
	if seconds := environment("HF_HUB_DOWNLOAD_TIMEOUT"); seconds != "" {
		n, err := strconv.Atoi(seconds)
		if err != nil || n < 1 || n > 3600 {
			return s, fmt.Errorf("HF_HUB_DOWNLOAD_TIMEOUT is %.20q, 1 to 3600 seconds were expected", seconds)
		}
		s.stall = time.Duration(n) * time.Second
	}
	if s.token == "" && !s.offline && !Enabled("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
		if s.token, s.from, err = token(); err != nil {
			return s, err
		}
	}
	if strings.ContainsFunc(s.token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return s, fmt.Errorf("the token from %s has characters that tokens have not", s.from)
	}
	return s, nil
}

// environment returns a variable, "" where it is not set.
func environment(name string) string { return strings.TrimSpace(os.Getenv(name)) }

// Enabled tells whether a variable such as HF_HUB_DISABLE_PROGRESS_BARS is set to one of
// the values that huggingface_hub takes for true: 1, on, yes, true.
func Enabled(name string) bool {
	switch strings.ToUpper(environment(name)) {
	case "1", "ON", "YES", "TRUE":
		return true
	}
	return false
}

// folder returns the folder that a variable names, with ~ and $NAME replaced as huggingface_hub does.
func folder(name string) (string, error) {
	path := os.ExpandEnv(environment(name))
	if path == "~" || strings.HasPrefix(path, "~/") || strings.HasPrefix(path, `~\`) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		path = filepath.Join(home, path[1:])
	}
	return path, nil
}

// homeFolder is where caches and the token lie: HF_HOME, by default ~/.cache/huggingface.
func homeFolder() (string, error) {
	for _, v := range [][2]string{{"HF_HOME", ""}, {"XDG_CACHE_HOME", "huggingface"}} {
		if path, err := folder(v[0]); path != "" || err != nil {
			return filepath.Join(path, v[1]), err
		}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no folder for the cache (%w): set HF_HOME", err)
	}
	return filepath.Join(home, ".cache", "huggingface"), nil
}

func cacheFolder() (string, error) {
	for _, name := range []string{"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"} {
		if path, err := folder(name); path != "" || err != nil {
			return path, err
		}
	}
	home, err := homeFolder()
	return filepath.Join(home, "hub"), err
}

// token returns the user's token and where it was found.
func token() (token, from string, err error) {
	for _, name := range []string{"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"} {
		if t := environment(name); t != "" {
			return t, name, nil
		}
	}
	path, err := folder("HF_TOKEN_PATH")
	if err == nil && path == "" {
		path, err = homeFolder()
		path = filepath.Join(path, "token")
	}
	if err != nil {
		return "", "", err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	}
	if err != nil {
		return "", "", fmt.Errorf("token: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return "", "", fmt.Errorf("token: %w", err)
	}
	if len(text) > maxToken {
		return "", "", fmt.Errorf("%s is no token: it has more than %d bytes", path, maxToken)
	}
	return strings.TrimSpace(string(text)), path, nil
}
