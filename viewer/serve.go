package viewer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"syscall"
	"time"
)

// Listen says where a [Site] listens.
type Listen struct {
	Host string // address or name; "": 127.0.0.1, which only this machine reaches
	Port int    // 0: a free one
}

// Local reports whether only this machine reaches the address.
func (l Listen) Local() bool {
	if l.Host == "" || l.Host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(l.Host)
	return err == nil && ip.IsLoopback()
}

// Times of the server. They bound what a client that does nothing holds.
const (
	headerTime = 5 * time.Second
	readTime   = 15 * time.Second
	writeTime  = 2 * time.Minute
	idleTime   = 2 * time.Minute
	closeTime  = 2 * time.Second
)

// Serve answers requests until ctx ends. It calls ready, with the address to open, once it listens. The end of ctx is no
// error: requests that are being answered have two seconds left.
func (s *Site) Serve(ctx context.Context, l Listen, ready func(url string)) error {
	host := l.Host
	if host == "" {
		host = "127.0.0.1"
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(l.Port)))
	switch {
	case errors.Is(err, syscall.EADDRINUSE) || isInUse(err):
		return fmt.Errorf("viewer: port %d of %s is in use by another program: choose one by --port, or --port 0 for a free one", l.Port, host)
	case err != nil:
		return fmt.Errorf("viewer: listen: %w", err)
	}
	s.host, s.public = l.Host, !l.Local()
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       readTime,
		WriteTimeout:      writeTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	ready("http://" + net.JoinHostPort(host, port) + "/")
	select {
	case err := <-ended:
		return fmt.Errorf("viewer: serve: %w", err)
	case <-ctx.Done():
	}
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTime)
	defer cancel()
	if server.Shutdown(wait) != nil {
		server.Close() // what is left has had its time
	}
	<-ended
	return nil
}
