package partition

import (
	"slices"
	"testing"

	"segue/storage/record"
)

func TestEpochsAssign(t *testing.T) {
	tests := []struct {
		name   string
		before epochs
		epoch  int32
		start  record.Offset
		want   epochs
	}{
		{"first", nil, 0, 0, epochs{{0, 0}}},
		{"next", epochs{{0, 0}}, 1, 5, epochs{{0, 0}, {1, 5}}},
		{"under way", epochs{{0, 0}, {1, 5}}, 1, 9, epochs{{0, 0}, {1, 5}}},
		{"earlier than known", epochs{{0, 0}, {1, 5}}, 1, 3, epochs{{0, 0}, {1, 3}}},
		{"the one before was empty", epochs{{0, 0}, {1, 5}}, 2, 5, epochs{{0, 0}, {2, 5}}},
		{"all before were empty", epochs{{0, 0}, {1, 0}}, 2, 0, epochs{{2, 0}}},
		{"one gone back", epochs{{0, 0}, {1, 5}, {2, 8}}, 1, 9, epochs{{0, 0}, {1, 9}}},
		{"unknown", epochs{{0, 0}}, -1, 9, epochs{{0, 0}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := slices.Clone(tt.before).assign(tt.epoch, tt.start); !slices.Equal(got, tt.want) {
				t.Errorf("assign(%d, %d) to %v gave %v, want %v", tt.epoch, tt.start, tt.before, got, tt.want)
			}
		})
	}
}

func TestEpochsEnd(t *testing.T) {
	history := epochs{{2, 0}, {4, 10}, {7, 30}}
	tests := []struct {
		epoch      int32
		start, end record.Offset
		want       EpochEnd
	}{
		{-1, 0, 50, noEpochEnd},
		{0, 0, 50, EpochEnd{0, 0}},
		{2, 0, 50, EpochEnd{2, 10}},
		{3, 0, 50, EpochEnd{2, 10}},
		{4, 0, 50, EpochEnd{4, 30}},
		{6, 0, 50, EpochEnd{4, 30}},
		{7, 0, 50, EpochEnd{7, 50}},
		{8, 0, 50, noEpochEnd},
		// The log start has moved into the second epoch, to its very end, and behind it.
		{1, 15, 50, EpochEnd{1, 15}},
		{2, 15, 50, EpochEnd{2, 15}},
		{3, 15, 50, EpochEnd{3, 15}},
		{4, 15, 50, EpochEnd{4, 30}},
		{4, 29, 50, EpochEnd{4, 30}},
		{4, 30, 50, EpochEnd{4, 30}},
		{4, 50, 50, EpochEnd{4, 50}},
		{7, 50, 50, EpochEnd{7, 50}},
	}
	for _, tt := range tests {
		if got := history.end(tt.epoch, tt.start, tt.end); got != tt.want {
			t.Errorf("end(%d) of a log from %d to %d is %v, want %v", tt.epoch, tt.start, tt.end, got, tt.want)
		}
	}
	if got := (epochs{}).end(0, 0, 0); got != noEpochEnd {
		t.Errorf("end of no epochs is %v", got)
	}
	// A log whose first batches carry no epoch.
	if got := (epochs{{3, 20}}).end(1, 5, 50); got != (EpochEnd{1, 20}) {
		t.Errorf("end of an epoch before the first known is %v", got)
	}
}

func TestEpochsAt(t *testing.T) {
	history := epochs{{2, 5}, {4, 10}}
	for offset, want := range map[record.Offset]int32{0: -1, 4: -1, 5: 2, 9: 2, 10: 4, 1000: 4} {
		if got := history.at(offset); got != want {
			t.Errorf("at(%d) is %d, want %d", offset, got, want)
		}
	}
}
