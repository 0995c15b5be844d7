package command

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"relsim/hub"
)

// Model returns the folder of a model for a flag such as --vision: a folder stands for
// itself, and "org/name" is looked up in the cache or downloaded, see [hub.Resolve]. A download
// says so on stderr, and has a bar there if that is a terminal and HF_HUB_DISABLE_PROGRESS_BARS
// is not set. o.Notice and o.Progress, where they are set, take the place of these.
func Model(ctx context.Context, name string, o hub.Options, stderr io.Writer) (string, error) {
	var bar *progressbar.ProgressBar
	clear := func() {
		if bar != nil {
			bar.Clear()
		}
	}
	if o.Notice == nil {
		o.Notice = func(format string, args ...any) {
			clear()
			fmt.Fprintf(stderr, format+"\n", args...)
		}
	}
	if file, ok := stderr.(*os.File); o.Progress == nil && ok && term.IsTerminal(int(file.Fd())) && !hub.Enabled("HF_HUB_DISABLE_PROGRESS_BARS") {
		o.Progress = func(p hub.Progress) {
			if bar == nil {
				bar = progressbar.NewOptions64(p.Total,
					progressbar.OptionSetWriter(stderr),
					progressbar.OptionShowBytes(true),
					progressbar.OptionSetPredictTime(true),
					progressbar.OptionThrottle(100*time.Millisecond),
					progressbar.OptionClearOnFinish(),
					progressbar.OptionFullWidth(),
				)
			}
			bar.Describe(p.File)
			if bar.GetMax64() != p.Total {
				bar.ChangeMax64(p.Total)
			}
			bar.Set64(p.Done)
		}
	}
	dir, err := hub.Resolve(ctx, name, o)
	clear()
	return dir, err
}
