package cuda

import (
	"fmt"
	"strings"
)

// What a parameter of a kernel is, a byte for each.
const (
	paramWord = 'w' // four bytes: an int of C
	paramLong = 'l' // eight bytes: an address, a long long, a double
	paramReal = 'f' // a float of C
)

// paramNames are the types in messages.
var paramNames = map[byte]string{paramWord: "int32", paramLong: "8 bytes", paramReal: "float32"}

// layouts returns the parameters of each kernel of PTX, by the kernel's name. It fails for types that [Args] does not have.
//
// Source: PTX ISA 8.8, section 10.2.1, the directive .entry; section 5.1.6, .param.
func layouts(ptx string) (map[string]string, error) {
	of := make(map[string]string)
	for {
		_, rest, ok := strings.Cut(ptx, ".entry ")
		if !ok {
			return of, nil
		}
		name, rest, ok := strings.Cut(rest, "(")
		if !ok {
			return nil, fmt.Errorf("cuda: PTX: an .entry without parameters: %.40q", rest)
		}
		name = strings.TrimSpace(name)
		list, rest, ok := strings.Cut(rest, ")")
		if !ok {
			return nil, fmt.Errorf("cuda: PTX: the parameters of %s do not end", name)
		}
		ptx = rest
		if _, ok := of[name]; ok {
			return nil, fmt.Errorf("cuda: PTX: two kernels %s", name)
		}
		var params []byte
		for param := range strings.SplitSeq(list, ",") {
			words := strings.Fields(param)
			if len(words) == 0 {
				continue // none at all
			}
			if len(words) != 3 || words[0] != ".param" {
				return nil, fmt.Errorf("cuda: PTX: parameter %d of %s is %q, want .param, a type and a name", len(params), name, strings.Join(words, " "))
			}
			switch words[1] {
			case ".u32", ".s32", ".b32":
				params = append(params, paramWord)
			case ".u64", ".s64", ".b64", ".f64":
				params = append(params, paramLong)
			case ".f32":
				params = append(params, paramReal)
			default:
				return nil, fmt.Errorf("cuda: PTX: parameter %d of %s has type %s, which no launch passes", len(params), name, words[1])
			}
		}
		of[name] = string(params)
	}
}

// describeParams writes parameters for messages.
func describeParams(params string) string {
	names := make([]string, len(params))
	for i := range params {
		names[i] = paramNames[params[i]]
	}
	return "(" + strings.Join(names, ", ") + ")"
}

// embeddedLayouts returns the parameters of the kernels that are embedded, as a device of an architecture has them.
func embeddedLayouts(arch int) (map[string]string, error) {
	all := make(map[string]string)
	for _, file := range kernelFiles() {
		text, err := ptxFor(file, arch)
		if err != nil {
			return nil, err
		}
		of, err := layouts(text)
		if err != nil {
			return nil, fmt.Errorf("%w, in %s", err, file)
		}
		for name, params := range of {
			all[name] = params
		}
	}
	return all, nil
}
