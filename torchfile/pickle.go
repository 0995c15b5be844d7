package torchfile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"relsim/checkpoints"
)

// The bounds of a pickle. A state dict of 10,000 tensors takes some 3 MB, 400,000 instructions and 150,000 places.
const (
	maxPickle       = 64 << 20 // bytes
	maxInstructions = 2 << 20
	maxStack        = 1 << 20 // values on the stack
	maxMemo         = 1 << 20 // values kept by number
	maxSides        = 64      // dimensions of a tensor
)

// What an unpickler makes: nil, bool, int64, long, float64, string, and these.
type (
	tuple  []any
	list   struct{ items []any }
	dict   struct{ keys, values []any } // in order, repeated keys included
	global string                       // one of allowed
	mark   struct{}
	long   string // an integer of more than 64 bits, as in the file

	// storage is what tensors are windows of.
	storage struct {
		key      string
		dtype    checkpoints.DType
		elements int64
		offset   int64 // of its bytes in the file; -1: not found yet
		crc      uint32
		check    bool // crc is set
	}

	// view is a tensor: element (i, j, …) is that at offset + i·strides[0] + j·strides[1] + … of the storage.
	view struct {
		storage       *storage
		offset        int64
		shape, stride []int64
	}
)

const (
	orderedDict      global = "collections.OrderedDict"
	rebuildTensor    global = "torch._utils._rebuild_tensor"
	rebuildTensorV2  global = "torch._utils._rebuild_tensor_v2"
	rebuildParameter global = "torch._utils._rebuild_parameter"
)

// storageTypes are the classes of storages, in module torch or torch.cuda.
var storageTypes = map[string]checkpoints.DType{
	"DoubleStorage": checkpoints.F64, "FloatStorage": checkpoints.F32, "HalfStorage": checkpoints.F16, "BFloat16Storage": checkpoints.BF16,
	"LongStorage": checkpoints.I64, "IntStorage": checkpoints.I32, "ShortStorage": checkpoints.I16, "CharStorage": checkpoints.I8,
	"ByteStorage": checkpoints.U8, "BoolStorage": checkpoints.Bool,
}

// storageType gives the type of a class of storages.
func storageType(g global) (checkpoints.DType, bool) {
	name, ok := strings.CutPrefix(string(g), "torch.")
	if !ok {
		return "", false
	}
	d, ok := storageTypes[strings.TrimPrefix(name, "cuda.")]
	return d, ok
}

// allowed says that a name stands for something that is read. Everything else could be code.
func allowed(g global) bool {
	switch g {
	case orderedDict, rebuildTensor, rebuildTensorV2, rebuildParameter:
		return true
	}
	_, ok := storageType(g)
	return ok
}

// input is a file of known size, read from the front.
type input struct {
	r    *bufio.Reader
	at   int64 // bytes read
	size int64
}

func newInput(r io.ReaderAt, from, size int64) *input {
	return &input{r: bufio.NewReaderSize(io.NewSectionReader(r, from, size-from), 1<<16), at: from, size: size}
}

func (in *input) byte() (byte, error) {
	b, err := in.r.ReadByte()
	if err != nil {
		return 0, ended(err)
	}
	in.at++
	return b, nil
}

// bytes reads n bytes, of which it makes sure first that they are there.
func (in *input) bytes(n int64) ([]byte, error) {
	if n < 0 || n > in.size-in.at {
		return nil, fmt.Errorf("%d bytes asked for where %d are left: %w", n, in.size-in.at, io.ErrUnexpectedEOF)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(in.r, b); err != nil {
		return nil, ended(err)
	}
	in.at += n
	return b, nil
}

// line reads a text that ends at a newline.
func (in *input) line() (string, error) {
	var b []byte
	for {
		c, err := in.byte()
		switch {
		case err != nil:
			return "", err
		case c == '\n':
			return string(b), nil
		case len(b) == 1024:
			return "", errors.New("a line of more than 1024 bytes")
		}
		b = append(b, c)
	}
}

func ended(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// unpickler reads pickles of tensors and of what may stand beside them: numbers, texts, lists, dicts. It knows
// the instructions that these need, calls the four functions that make tensors and dicts, which are its own, and looks
// up no other name.
type unpickler struct {
	in       *input
	stack    []any
	memo     map[uint32]any
	storages map[string]*storage
	legacy   bool  // storages have a sixth attribute
	file     int64 // bytes of the whole file
	start    int64
	count    int
}

// The instructions that are read.
const (
	opMark       = '('
	opStop       = '.'
	opPop        = '0'
	opPopMark    = '1'
	opDup        = '2'
	opFloat      = 'F'
	opInt        = 'I'
	opBinInt     = 'J'
	opBinInt1    = 'K'
	opLong       = 'L'
	opBinInt2    = 'M'
	opNone       = 'N'
	opBinPersID  = 'Q'
	opReduce     = 'R'
	opBinString  = 'T'
	opShortBin   = 'U'
	opBinUnicode = 'X'
	opAppend     = 'a'
	opBuild      = 'b'
	opGlobal     = 'c'
	opDict       = 'd'
	opEmptyDict  = '}'
	opAppends    = 'e'
	opBinGet     = 'h'
	opLongGet    = 'j'
	opList       = 'l'
	opEmptyList  = ']'
	opBinPut     = 'q'
	opLongPut    = 'r'
	opSetItem    = 's'
	opTuple      = 't'
	opEmptyTuple = ')'
	opSetItems   = 'u'
	opBinFloat   = 'G'
	opProto      = 0x80
	opTuple1     = 0x85
	opTuple2     = 0x86
	opTuple3     = 0x87
	opTrue       = 0x88
	opFalse      = 0x89
	opLong1      = 0x8a
	opLong4      = 0x8b
	opShortUni   = 0x8c
	opUnicode8   = 0x8d
	opStackGlob  = 0x93
	opMemoize    = 0x94
	opFrame      = 0x95
	opBytes      = 'B'
	opShortBytes = 'C'
)

// refused are instructions that make objects of classes, or look names up.
var refused = map[byte]string{
	'i': "INST", 'o': "OBJ", 'P': "PERSID", 0x81: "NEWOBJ", 0x82: "EXT1", 0x83: "EXT2", 0x84: "EXT4", 0x92: "NEWOBJ_EX",
	0x8e: "BINBYTES8", 0x8f: "EMPTY_SET", 0x90: "ADDITEMS", 0x91: "FROZENSET", 0x96: "BYTEARRAY8", 0x97: "NEXT_BUFFER", 0x98: "READONLY_BUFFER",
	'S': "STRING", 'V': "UNICODE", 'p': "PUT", 'g': "GET",
}

var errRefused = errors.New("only tensors are read, with numbers, texts, lists and dicts around them, and no code is run; save the state_dict of a model, not the model")

// load reads one pickle. Errors say at which byte of the file.
func (u *unpickler) load() (any, error) {
	u.start, u.count, u.stack, u.memo = u.in.at, 0, u.stack[:0], map[uint32]any{}
	for {
		at := u.in.at
		op, err := u.in.byte()
		if err != nil {
			return nil, fmt.Errorf("byte %d: %w", at, err)
		}
		u.count++
		switch {
		case at-u.start > maxPickle:
			return nil, fmt.Errorf("byte %d: the pickle has more than %d bytes", at, maxPickle)
		case u.count > maxInstructions:
			return nil, fmt.Errorf("byte %d: the pickle has more than %d instructions", at, maxInstructions)
		case op == opStop:
			v, err := u.pop()
			if err == nil && len(u.stack) > 0 {
				err = fmt.Errorf("%d values are left on the stack at its end", len(u.stack))
			}
			if err != nil {
				return nil, fmt.Errorf("byte %d: %w", at, err)
			}
			return v, nil
		}
		if err := u.step(op); err != nil {
			return nil, fmt.Errorf("byte %d: %w", at, err)
		}
		if len(u.stack) > maxStack || len(u.memo) > maxMemo {
			return nil, fmt.Errorf("byte %d: more than %d values on the stack or %d kept", at, maxStack, maxMemo)
		}
	}
}

func (u *unpickler) push(v any) error {
	u.stack = append(u.stack, v)
	return nil
}

func (u *unpickler) top() (any, error) {
	if len(u.stack) == 0 {
		return nil, errors.New("the stack is empty")
	}
	v := u.stack[len(u.stack)-1]
	if _, ok := v.(mark); ok {
		return nil, errors.New("a mark where a value is wanted")
	}
	return v, nil
}

func (u *unpickler) pop() (any, error) {
	v, err := u.top()
	if err == nil {
		u.stack = u.stack[:len(u.stack)-1]
	}
	return v, err
}

// marked takes the values down to the last mark off the stack. They are copied.
func (u *unpickler) marked() ([]any, error) {
	for i := len(u.stack) - 1; i >= 0; i-- {
		if _, ok := u.stack[i].(mark); ok {
			items := append([]any(nil), u.stack[i+1:]...)
			u.stack = u.stack[:i]
			return items, nil
		}
	}
	return nil, errors.New("no mark on the stack")
}

// tuple pushes a tuple of the last n values.
func (u *unpickler) tuple(n int) error {
	items := make(tuple, n)
	for i := n - 1; i >= 0; i-- {
		v, err := u.pop()
		if err != nil {
			return err
		}
		items[i] = v
	}
	return u.push(items)
}

// number reads n bytes as an unsigned integer.
func (u *unpickler) number(n int64) (uint64, error) {
	b, err := u.in.bytes(n)
	if err != nil {
		return 0, err
	}
	var wide [8]byte
	copy(wide[:], b)
	return binary.LittleEndian.Uint64(wide[:]), nil
}

// text reads a length of n bytes and a text of that length.
func (u *unpickler) text(n int64) (string, error) {
	length, err := u.number(n)
	if err != nil {
		return "", err
	}
	if length > maxPickle {
		return "", fmt.Errorf("a text of %d bytes, more than %d", length, maxPickle)
	}
	b, err := u.in.bytes(int64(length))
	return string(b), err
}

func (u *unpickler) pushText(n int64) error {
	s, err := u.text(n)
	if err != nil {
		return err
	}
	return u.push(s)
}

func (u *unpickler) pushNumber(n int64) error {
	v, err := u.number(n)
	if err != nil {
		return err
	}
	return u.push(int64(v))
}

// pushLong reads a signed integer of that many bytes.
func (u *unpickler) pushLong(lengthBytes int64) error {
	s, err := u.text(lengthBytes)
	if err != nil {
		return err
	}
	if len(s) > 8 {
		return u.push(long(s))
	}
	var wide [8]byte
	if len(s) > 0 && s[len(s)-1] >= 0x80 {
		for i := range wide {
			wide[i] = 0xff
		}
	}
	copy(wide[:], s)
	return u.push(int64(binary.LittleEndian.Uint64(wide[:])))
}

func (u *unpickler) put(at uint64) error {
	v, err := u.top()
	if err != nil {
		return err
	}
	if at >= maxMemo {
		return fmt.Errorf("value kept as number %d, want less than %d", at, maxMemo)
	}
	u.memo[uint32(at)] = v
	return nil
}

func (u *unpickler) get(at uint64) error {
	v, ok := u.memo[uint32(min(at, math.MaxUint32))]
	if !ok {
		return fmt.Errorf("no value was kept as number %d", at)
	}
	return u.push(v)
}

// step does one instruction.
func (u *unpickler) step(op byte) error {
	switch op {
	case opProto:
		v, err := u.number(1)
		if err == nil && v > 5 {
			err = fmt.Errorf("pickle protocol %d, want at most 5", v)
		}
		return err
	case opFrame:
		_, err := u.number(8)
		return err
	case opMark:
		return u.push(mark{})
	case opPop:
		if len(u.stack) == 0 {
			return errors.New("the stack is empty")
		}
		u.stack = u.stack[:len(u.stack)-1]
		return nil
	case opPopMark:
		_, err := u.marked()
		return err
	case opDup:
		v, err := u.top()
		if err != nil {
			return err
		}
		return u.push(v)
	case opNone:
		return u.push(nil)
	case opTrue, opFalse:
		return u.push(op == opTrue)
	case opBinInt1:
		return u.pushNumber(1)
	case opBinInt2:
		return u.pushNumber(2)
	case opBinInt:
		v, err := u.number(4)
		if err != nil {
			return err
		}
		return u.push(int64(int32(v)))
	case opLong1:
		return u.pushLong(1)
	case opLong4:
		return u.pushLong(4)
	case opInt, opLong:
		s, err := u.in.line()
		if err != nil {
			return err
		}
		if op == opInt && (s == "00" || s == "01") {
			return u.push(s == "01")
		}
		v, err := strconv.ParseInt(strings.TrimSuffix(s, "L"), 10, 64)
		if err != nil {
			return fmt.Errorf("%.40q is not an integer of 64 bits", s)
		}
		return u.push(v)
	case opBinFloat:
		b, err := u.in.bytes(8)
		if err != nil {
			return err
		}
		return u.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
	case opFloat:
		s, err := u.in.line()
		if err != nil {
			return err
		}
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return fmt.Errorf("%.40q is not a number", s)
		}
		return u.push(v)
	case opShortBin, opShortUni, opShortBytes:
		return u.pushText(1)
	case opBinString, opBinUnicode, opBytes:
		return u.pushText(4)
	case opUnicode8:
		return u.pushText(8)
	case opEmptyTuple:
		return u.push(tuple{})
	case opTuple1, opTuple2, opTuple3:
		return u.tuple(int(op) - opTuple1 + 1)
	case opTuple:
		items, err := u.marked()
		if err != nil {
			return err
		}
		return u.push(tuple(items))
	case opEmptyList:
		return u.push(&list{})
	case opList:
		items, err := u.marked()
		if err != nil {
			return err
		}
		return u.push(&list{items})
	case opEmptyDict:
		return u.push(&dict{})
	case opDict:
		items, err := u.marked()
		if err != nil {
			return err
		}
		d := &dict{}
		if err := d.set(items); err != nil {
			return err
		}
		return u.push(d)
	case opAppend:
		v, err := u.pop()
		if err != nil {
			return err
		}
		return u.extend([]any{v})
	case opAppends:
		items, err := u.marked()
		if err != nil {
			return err
		}
		return u.extend(items)
	case opSetItem:
		if err := u.tuple(2); err != nil {
			return err
		}
		pair, err := u.pop()
		if err != nil {
			return err
		}
		return u.update(pair.(tuple))
	case opSetItems:
		items, err := u.marked()
		if err != nil {
			return err
		}
		return u.update(items)
	case opBinPut:
		v, err := u.number(1)
		if err != nil {
			return err
		}
		return u.put(v)
	case opLongPut:
		v, err := u.number(4)
		if err != nil {
			return err
		}
		return u.put(v)
	case opMemoize:
		return u.put(uint64(len(u.memo)))
	case opBinGet:
		v, err := u.number(1)
		if err != nil {
			return err
		}
		return u.get(v)
	case opLongGet:
		v, err := u.number(4)
		if err != nil {
			return err
		}
		return u.get(v)
	case opGlobal:
		module, err := u.in.line()
		if err != nil {
			return err
		}
		name, err := u.in.line()
		if err != nil {
			return err
		}
		return u.global("GLOBAL", module, name)
	case opStackGlob:
		name, err := u.pop()
		if err != nil {
			return err
		}
		module, err := u.pop()
		if err != nil {
			return err
		}
		m, ok1 := module.(string)
		n, ok2 := name.(string)
		if !ok1 || !ok2 {
			return fmt.Errorf("STACK_GLOBAL of %s and %s, want texts", describe(module), describe(name))
		}
		return u.global("STACK_GLOBAL", m, n)
	case opReduce:
		return u.reduce()
	case opBuild:
		state, err := u.pop()
		if err != nil {
			return err
		}
		object, err := u.top()
		if err != nil {
			return err
		}
		// The attributes of a dict, such as a state dict's _metadata.
		if _, ok := object.(*dict); !ok {
			return fmt.Errorf("BUILD of %s: %w", describe(object), errRefused)
		}
		if _, ok := state.(*dict); !ok {
			return fmt.Errorf("BUILD with %s, want a dict", describe(state))
		}
		return nil
	case opBinPersID:
		id, err := u.pop()
		if err != nil {
			return err
		}
		s, err := u.persistent(id)
		if err != nil {
			return fmt.Errorf("BINPERSID: %w", err)
		}
		return u.push(s)
	}
	if op == 'i' {
		module, err := u.in.line()
		if err != nil {
			return err
		}
		name, err := u.in.line()
		if err != nil {
			return err
		}
		return fmt.Errorf("INST %.100q: %w", module+"."+name, errRefused)
	}
	if name, ok := refused[op]; ok {
		return fmt.Errorf("instruction %s: %w", name, errRefused)
	}
	return fmt.Errorf("%#02x is no instruction of a pickle", op)
}

// set adds keys and values in turn.
func (d *dict) set(items []any) error {
	if len(items)%2 != 0 {
		return errors.New("a dict gets a key without a value")
	}
	for i := 0; i < len(items); i += 2 {
		d.keys, d.values = append(d.keys, items[i]), append(d.values, items[i+1])
	}
	return nil
}

// extend adds items to the list on top of the stack.
func (u *unpickler) extend(items []any) error {
	v, err := u.top()
	if err != nil {
		return err
	}
	l, ok := v.(*list)
	if !ok {
		return fmt.Errorf("items are added to %s, not to a list", describe(v))
	}
	l.items = append(l.items, items...)
	return nil
}

// update adds items to the dict on top of the stack.
func (u *unpickler) update(items []any) error {
	v, err := u.top()
	if err != nil {
		return err
	}
	d, ok := v.(*dict)
	if !ok {
		return fmt.Errorf("items are set in %s, not in a dict", describe(v))
	}
	return d.set(items)
}

func (u *unpickler) global(op, module, name string) error {
	g := global(module + "." + name)
	if !allowed(g) {
		return fmt.Errorf("%s %.100q: %w", op, string(g), errRefused)
	}
	return u.push(g)
}

// describe says what a value is, in messages.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case tuple:
		return fmt.Sprintf("a tuple of %d", len(v))
	case *list:
		return "a list"
	case *dict:
		return "a dict"
	case *view:
		return "a tensor"
	case *storage:
		return "a storage"
	case global:
		return string(v)
	case string:
		return fmt.Sprintf("the text %.40q", v)
	case int64, bool, float64:
		return fmt.Sprint(v)
	}
	return "a number"
}

// reduce calls one of the functions that make tensors and dicts.
func (u *unpickler) reduce() error {
	v, err := u.pop()
	if err != nil {
		return err
	}
	f, err := u.pop()
	if err != nil {
		return err
	}
	g, ok1 := f.(global)
	args, ok2 := v.(tuple)
	if !ok1 || !ok2 {
		return fmt.Errorf("REDUCE of %s with %s: %w", describe(f), describe(v), errRefused)
	}
	var result any
	switch g {
	case orderedDict:
		result, err = makeDict(args)
	case rebuildTensor, rebuildTensorV2:
		result, err = makeTensor(g, args)
	case rebuildParameter: // the tensor, whether it is trained, hooks
		if len(args) != 3 {
			return fmt.Errorf("%s with %d arguments, want 3", g, len(args))
		}
		t, ok := args[0].(*view)
		if !ok {
			return fmt.Errorf("%s of %s, want a tensor", g, describe(args[0]))
		}
		result = t
	default:
		return fmt.Errorf("REDUCE of %s: it is no function", g)
	}
	if err != nil {
		return err
	}
	return u.push(result)
}

// makeDict is OrderedDict() or, as Python 2 wrote it, OrderedDict([[key, value], …]).
func makeDict(args tuple) (*dict, error) {
	d := &dict{}
	switch len(args) {
	case 0:
		return d, nil
	case 1:
		l, ok := args[0].(*list)
		if !ok {
			return nil, fmt.Errorf("%s of %s, want a list of pairs", orderedDict, describe(args[0]))
		}
		for _, item := range l.items {
			var pair []any
			switch item := item.(type) {
			case *list:
				pair = item.items
			case tuple:
				pair = item
			}
			if len(pair) != 2 {
				return nil, fmt.Errorf("%s: %s, want a pair", orderedDict, describe(item))
			}
			if err := d.set(pair); err != nil {
				return nil, err
			}
		}
		return d, nil
	}
	return nil, fmt.Errorf("%s with %d arguments, want none or 1", orderedDict, len(args))
}

// makeTensor is _rebuild_tensor(storage, offset, size, stride), and _v2 with more that no value depends on.
func makeTensor(g global, args tuple) (*view, error) {
	if g == rebuildTensor && len(args) != 4 || g == rebuildTensorV2 && len(args) != 6 && len(args) != 7 {
		return nil, fmt.Errorf("%s with %d arguments", g, len(args))
	}
	s, ok := args[0].(*storage)
	if !ok {
		return nil, fmt.Errorf("%s of %s, want a storage", g, describe(args[0]))
	}
	t := &view{storage: s}
	if t.offset, ok = args[1].(int64); !ok || t.offset < 0 || t.offset > s.elements {
		return nil, fmt.Errorf("%s: offset %s in a storage of %d elements", g, describe(args[1]), s.elements)
	}
	var err error
	if t.shape, err = sides(args[2]); err == nil {
		t.stride, err = sides(args[3])
	}
	if err == nil && len(t.shape) != len(t.stride) {
		err = fmt.Errorf("%d sides and %d strides", len(t.shape), len(t.stride))
	}
	if err == nil {
		err = t.check()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", g, err)
	}
	return t, nil
}

// sides reads a tuple of whole numbers, 0 or more.
func sides(v any) ([]int64, error) {
	items, ok := v.(tuple)
	if !ok {
		return nil, fmt.Errorf("%s, want a tuple of integers", describe(v))
	}
	if len(items) > maxSides {
		return nil, fmt.Errorf("%d dimensions, more than %d", len(items), maxSides)
	}
	list := make([]int64, len(items))
	for i, item := range items {
		n, ok := item.(int64)
		if !ok || n < 0 || n > math.MaxInt {
			return nil, fmt.Errorf("%s, want an integer, 0 or more", describe(item))
		}
		list[i] = n
	}
	return list, nil
}

// elements is the number of values. It is only called of tensors that were checked.
func (t *view) elements() int64 {
	n := int64(1)
	for _, d := range t.shape {
		n *= d
	}
	return n
}

// check makes sure that all elements lie in the storage, and that they are no more than it has.
func (t *view) check() error {
	n, last, have := int64(1), t.offset, t.storage.elements
	for _, d := range t.shape {
		if d == 0 {
			return nil
		}
	}
	for i, d := range t.shape {
		if d > have/n { // n·d > have
			return fmt.Errorf("shape %v in a storage of %d elements", t.shape, have)
		}
		n *= d
		if stride := t.stride[i]; d > 1 && stride > 0 {
			if d-1 > (have-last)/stride {
				return fmt.Errorf("shape %v with strides %v from %d reaches beyond a storage of %d elements", t.shape, t.stride, t.offset, have)
			}
			last += (d - 1) * stride
		}
	}
	if last >= have {
		return fmt.Errorf("shape %v with strides %v from %d reaches beyond a storage of %d elements", t.shape, t.stride, t.offset, have)
	}
	return nil
}

// persistent reads a reference to a storage: ("storage", its class, key, device, elements) and, in the legacy
// format, a view of it or None.
func (u *unpickler) persistent(id any) (*storage, error) {
	t, ok := id.(tuple)
	want := 5
	if u.legacy {
		want = 6
	}
	if !ok || len(t) != want || t[0] != any("storage") {
		return nil, fmt.Errorf("%s, want a storage", describe(id))
	}
	class, ok := t[1].(global)
	if !ok {
		return nil, fmt.Errorf("a storage of class %s", describe(t[1]))
	}
	d, ok := storageType(class)
	if !ok {
		return nil, fmt.Errorf("a storage of class %s", class)
	}
	key, ok := t[2].(string)
	if !ok || key == "" || len(key) > 64 || strings.ContainsAny(key, "/\\\x00") {
		return nil, fmt.Errorf("a storage with the key %s", describe(t[2]))
	}
	n, ok := t[4].(int64)
	if !ok || n < 0 || n > u.file/int64(d.Size()) {
		return nil, fmt.Errorf("storage %s: %s elements of %s in a file of %d bytes", key, describe(t[4]), d, u.file)
	}
	if u.legacy && t[5] != nil {
		return nil, fmt.Errorf("storage %s is a view of another one, as very old versions wrote: not read", key)
	}
	if s := u.storages[key]; s != nil {
		if s.dtype != d || s.elements != n {
			return nil, fmt.Errorf("storage %s is %d elements of %s, and %d of %s before", key, n, d, s.elements, s.dtype)
		}
		return s, nil
	}
	s := &storage{key: key, dtype: d, elements: n, offset: -1}
	u.storages[key] = s
	return s, nil
}
