package download

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// longest bounds what a server may ask for, so that sums of times do not overflow.
const longest = 10 * 365 * 24 * time.Hour

// retryAfter reads the header Retry-After, a number of seconds or a date (RFC 9110, section 10.2.3). ok says that there
// is one that can be read; a time that has passed is 0.
func retryAfter(s string, now time.Time) (wait time.Duration, ok bool) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, false
	}
	if strings.Trim(s, "0123456789") == "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n > int64(longest/time.Second) {
			return longest, true
		}
		return time.Duration(n) * time.Second, true
	}
	t, err := http.ParseTime(s)
	if err != nil {
		return 0, false
	}
	return min(max(0, t.Sub(now)), longest), true
}
