//go:build (linux || darwin) && (amd64 || arm64) && !android && !ios && !noturbo && !nogpu

package jpeg

// turboNames are the names that systems give the library.
var turboNames = []string{
	"libturbojpeg.so.0", "libturbojpeg.so",
	"libturbojpeg.0.dylib", "libturbojpeg.dylib",
	"/opt/homebrew/lib/libturbojpeg.dylib", "/usr/local/lib/libturbojpeg.dylib",
	"/opt/libjpeg-turbo/lib64/libturbojpeg.so.0", "/opt/libjpeg-turbo/lib64/libturbojpeg.dylib",
}
