package protocol

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// eachVersion runs test for every API and version of the table.
func eachVersion(t *testing.T, test func(t *testing.T, s *shape, version int16)) {
	t.Helper()
	for _, s := range requests {
		if s == nil {
			continue
		}
		t.Run(s.name(), func(t *testing.T) {
			for version := s.min; version <= s.max; version++ {
				test(t, s, version)
				if t.Failed() {
					t.Fatalf("in version %d", version)
				}
			}
		})
	}
}

// filler fills kmsg requests with what the wire can carry.
type filler struct {
	*rand.Rand
	many reflect.Type // slices of this have manyElements elements; nil: of none
	lean bool         // nothing else has any content: no element, no tag, empty strings
}

const manyElements = 200

func newFiller(seed uint64) *filler { return &filler{Rand: rand.New(rand.NewPCG(seed, 1))} }

func (f *filler) request(s *shape, version int16) kmsg.Request {
	r := s.key.Request()
	f.fill(reflect.ValueOf(r).Elem(), 0)
	r.SetVersion(version)
	return r
}

var tagsType = reflect.TypeFor[kmsg.Tags]()

func (f *filler) fill(v reflect.Value, depth int) {
	if v.Type() == tagsType {
		f.tags(v.Addr().Interface().(*kmsg.Tags))
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(f.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(f.Uint64()) >> (64 - v.Type().Bits()))
	case reflect.Uint8, reflect.Uint16:
		v.SetUint(f.Uint64() >> (64 - v.Type().Bits()))
	case reflect.Float64:
		v.SetFloat(f.NormFloat64())
	case reflect.String:
		if !f.lean {
			v.SetString(strings.Repeat("é", f.IntN(8)))
		}
	case reflect.Pointer:
		if f.IntN(3) == 0 || f.lean && f.many == nil {
			v.SetZero()
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), depth+1)
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(v.Field(i), depth+1)
		}
	case reflect.Array:
		for i := range v.Len() {
			f.fill(v.Index(i), depth+1)
		}
	case reflect.Slice:
		n := f.length(v.Type().Elem())
		if n == 0 && f.IntN(2) == 0 {
			v.SetZero()
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			f.fill(v.Index(i), depth+1)
		}
	default:
		panic("kmsg has a field of kind " + v.Kind().String())
	}
}

func (f *filler) length(elem reflect.Type) int {
	switch {
	case f.many == elem:
		return manyElements
	case f.lean && f.many != nil && reaches(elem, f.many):
		return 1
	case f.lean:
		return 0
	}
	return f.IntN(4)
}

func (f *filler) tags(tags *kmsg.Tags) {
	if f.lean || f.IntN(4) > 0 {
		return
	}
	for range f.IntN(12) {
		tags.Set(100+f.Uint32N(1000)*f.Uint32N(1000), []byte("tag")[f.IntN(4):])
	}
}

// reaches returns whether an array of many can be found in a value of type t.
func reaches(t, many reflect.Type) bool {
	found := false
	eachArray(t, func(elem reflect.Type) { found = found || elem == many })
	return found
}

// eachArray calls visit with the element type of each array in a value of type t.
func eachArray(t reflect.Type, visit func(reflect.Type)) {
	switch t.Kind() {
	case reflect.Struct:
		if t == tagsType {
			return
		}
		for i := range t.NumField() {
			eachArray(t.Field(i).Type, visit)
		}
	case reflect.Pointer:
		eachArray(t.Elem(), visit)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return // bytes: not copied
		}
		visit(t.Elem())
		eachArray(t.Elem(), visit)
	}
}

// heldMemory is how many bytes of memory v holds beyond v itself: what a decoder had to allocate for it.
func heldMemory(v reflect.Value) int {
	if v.Type() == tagsType {
		if n := v.Addr().Interface().(*kmsg.Tags).Len(); n > 0 {
			return 48 + 32*n
		}
		return 0
	}
	n := 0
	switch v.Kind() {
	case reflect.String:
		n = v.Len()
	case reflect.Pointer:
		if !v.IsNil() {
			n = int(v.Type().Elem().Size()) + heldMemory(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			n += heldMemory(v.Field(i))
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return 0
		}
		n = v.Len() * int(v.Type().Elem().Size())
		for i := range v.Len() {
			n += heldMemory(v.Index(i))
		}
	}
	return n
}
