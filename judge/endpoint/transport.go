package endpoint

import (
	"fmt"
	"io"
	"net/http"
	"net/url"

	"relsim/judge"
)

const (
	// MaxReply is the size in bytes of an endpoint's answer at most. One that is longer is not read on.
	MaxReply = 1 << 20
	// maxRefusal is how much of an answer with another status than 200 is read.
	maxRefusal = 64 << 10
)

// bounded is a transport whose answers have an end: the library reads them whole.
type bounded struct{ next http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if _, err := url.Parse(response.Header.Get("Location")); err != nil {
		response.Header.Del("Location") // which http.Client takes for a failure of the connection
	}
	if response.StatusCode == http.StatusOK {
		response.Body = &answer{ReadCloser: response.Body, left: MaxReply}
	} else {
		response.Body = &beginning{response.Body, io.LimitReader(response.Body, maxRefusal)}
	}
	return response, nil
}

// answer is a body that fails when it is too long.
type answer struct {
	io.ReadCloser
	left int64 // bytes that may come; negative: more have come
}

func (a *answer) Read(p []byte) (int, error) {
	if a.left < 0 {
		return 0, fmt.Errorf("%w: more than %d bytes", judge.ErrTooLong, MaxReply)
	}
	if int64(len(p)) > a.left+1 {
		p = p[:a.left+1]
	}
	n, err := a.ReadCloser.Read(p)
	if a.left -= int64(n); a.left < 0 {
		n, err = n-1, fmt.Errorf("%w: more than %d bytes", judge.ErrTooLong, MaxReply)
	}
	return n, err
}

// beginning is as much of a body as there is and may be read. The status counts, not what breaks off behind it.
type beginning struct {
	io.Closer
	from io.Reader
}

func (b *beginning) Read(p []byte) (int, error) {
	n, err := b.from.Read(p)
	if err != nil {
		err = io.EOF
	}
	return n, err
}
