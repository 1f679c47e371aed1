package wof

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Method is how a file is compressed. The values are those of the reparse point.
type Method uint32

// The methods that Windows has.
const (
	XPRESS4K  Method = 0
	LZX       Method = 1 // chunks of 32 KiB
	XPRESS8K  Method = 2
	XPRESS16K Method = 3
)

// Chunk is how many bytes each chunk but the last decompresses to.
func (m Method) Chunk() int64 {
	return map[Method]int64{XPRESS4K: 4 << 10, LZX: 32 << 10, XPRESS8K: 8 << 10, XPRESS16K: 16 << 10}[m]
}

func (m Method) String() string {
	name, ok := map[Method]string{XPRESS4K: "XPRESS4K", LZX: "LZX", XPRESS8K: "XPRESS8K", XPRESS16K: "XPRESS16K"}[m]
	if !ok {
		return fmt.Sprintf("method %d", uint32(m))
	}
	return name
}

// Decode decompresses one chunk: dst is filled as a whole. A chunk that is as long as
// what it holds was not compressed.
func (m Method) Decode(dst, src []byte) error {
	switch {
	case len(src) == len(dst):
		copy(dst, src)
		return nil
	case int64(len(dst)) > m.Chunk():
		return fmt.Errorf("%d bytes are no chunk of %s", len(dst), m)
	case m == LZX:
		return lzx(dst, src)
	}
	return xpress(dst, src)
}

// ErrWIM says that a file's content lies in an image of Windows (WIM) and not in itself.
var ErrWIM = errors.New("its content lies in a WIM file (WIMBoot)")

// UnknownError says that a reparse point is of a version, by a provider or for a method
// that is not known.
type UnknownError struct{ What string }

func (e *UnknownError) Error() string { return e.What }

// Values of the reparse point.
const (
	versionWOF   = 1
	providerWIM  = 1
	providerFile = 2
	versionFile  = 1
)

// ParseReparse reads the data of a reparse point of WOF (tag 0x80000017), without its
// header. Errors: ErrWIM, an *UnknownError, or what is wrong with it.
func ParseReparse(b []byte) (Method, error) {
	le := binary.LittleEndian
	if len(b) < 8 {
		return 0, fmt.Errorf("it has %d bytes", len(b))
	}
	switch version, provider := le.Uint32(b), le.Uint32(b[4:]); {
	case version != versionWOF:
		return 0, &UnknownError{fmt.Sprintf("its content is compressed by Windows (WOF) in a form that is not known (%d)", version)}
	case provider == providerWIM:
		return 0, ErrWIM
	case provider != providerFile:
		return 0, &UnknownError{fmt.Sprintf("its content is kept by an unknown provider of Windows (WOF, %d)", provider)}
	case len(b) < 16:
		return 0, fmt.Errorf("it has %d bytes", len(b))
	}
	version, m := le.Uint32(b[8:]), Method(le.Uint32(b[12:]))
	if version != versionFile || m.Chunk() == 0 {
		return 0, &UnknownError{fmt.Sprintf("its content is compressed by Windows (WOF) with an unknown %s, version %d", m, version)}
	}
	return m, nil
}
