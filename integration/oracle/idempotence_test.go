package oracle

import (
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"slices"
)

// aProducer is an id that no broker has given out when a case takes it.
const aProducer = 1 << 40

// numbered is a batch of a producer with n records, the first of which has this sequence number.
func numbered(producer int64, epoch int16, sequence int32, n int) batch {
	return batch{values: make([]string, n), named: true, producer: producer, epoch: epoch, sequence: sequence}
}

// idempotenceScenario is about producers that number their records. What remains of them after a restart is not here.
func idempotenceScenario() scenario {
	return scenario{name: "idempotence", cases: slices.Concat(numberedAgain(), numberedWrongly())}
}

// numberedAgain is about batches in their order, and those that come again.
func numberedAgain() []oneCase {
	return []oneCase{
		{name: "one after the other", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 2)
			for _, sequence := range []int32{0, 2, 4} {
				askProduce(c, t, 0, numbered(aProducer, 0, sequence, 2))
			}
			askProduce(c, t, 1, numbered(aProducer, 0, 0, 1)) // each partition counts for itself
			askProduce(c, t, 0, numbered(aProducer+1, 0, 0, 1))
			readBack(c, t, 7)
		}},
		{name: "an id that was given out", api: kmsg.Produce, from: 11, run: func(c *client) {
			t := c.topic("t", 1)
			c.awaitProducerIDs()
			id := ask[*kmsg.InitProducerIDResponse](c, initProducerID()).ProducerID
			askProduce(c, t, 0, numbered(id, 0, 0, 1))
			askProduce(c, t, 0, numbered(id, 1, 0, 1))
			readBack(c, t, 2)
		}},
		{name: "again", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1)
			for i := range int32(7) {
				askProduce(c, t, 0, numbered(aProducer, 0, i, 1))
			}
			for i := range int32(8) { // five are remembered
				askProduce(c, t, 0, numbered(aProducer, 0, i, 1))
			}
			askProduce(c, t, 0, numbered(aProducer, 0, 7, 1))
		}},
		{name: "again, with append times", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1, "message.timestamp.type=LogAppendTime")
			askProduce(c, t, 0, numbered(aProducer, 0, 0, 1))
			askProduce(c, t, 0, numbered(aProducer, 0, 0, 1))
		}},
		{name: "again, cut otherwise", api: kmsg.Produce, from: 11, run: func(c *client) {
			t := c.topic("t", 1)
			askProduce(c, t, 0, numbered(aProducer, 0, 0, 3))
			for _, cut := range [][2]int32{{0, 2}, {1, 2}, {0, 4}, {2, 1}, {2, 2}, {0, 3}} {
				askProduce(c, t, 0, numbered(aProducer, 0, cut[0], int(cut[1])))
			}
		}},
		{name: "again, and refused for something else", api: kmsg.Produce, from: 11, run: func(c *client) {
			t := c.topic("t", 1)
			b := numbered(aProducer, 0, 0, 1)
			askProduce(c, t, 0, b)
			b.spoil = flip(17)
			askProduce(c, t, 0, b)
			askAcks(c, t, 1, numbered(aProducer, 0, 0, 1).bytes())
			tellAcks(c, t, numbered(aProducer, 0, 0, 1))
			tellAcks(c, t, numbered(aProducer, 0, 1, 1))
			c.awaitEnd(t, 2)
			askProduce(c, t, 0, numbered(aProducer, 0, 2, 1))
			req := produceRequest(t, 0, numbered(aProducer, 0, 7, 1).bytes())
			req.Acks = 0
			begin[*kmsg.ProduceResponse](c, req).isClosed()
		}},
		{name: "again, compressed", api: kmsg.Produce, from: 11, run: func(c *client) {
			t := c.topic("t", 1, "compression.type=lz4")
			b := numbered(aProducer, 0, 0, 3)
			for _, codec := range []kgo.CompressionCodec{{}, kgo.GzipCompression(), kgo.Lz4Compression()} {
				b.codec = codec
				askProduce(c, t, 0, b)
			}
		}},
	}
}

// numberedWrongly is about gaps, epochs, and what is no number.
func numberedWrongly() []oneCase {
	return []oneCase{
		{name: "gaps", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1)
			askProduce(c, t, 0, numbered(aProducer, 0, 0, 1))
			for _, sequence := range []int32{2, 1000, 2147483647, 1} {
				askProduce(c, t, 0, numbered(aProducer, 0, sequence, 1))
			}
		}},
		{name: "a producer that is not known", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1)
			askProduce(c, t, 0, numbered(aProducer, 0, 5, 1))
			askProduce(c, t, 0, numbered(aProducer+1, 7, 1000, 1))
			askProduce(c, t, 0, numbered(aProducer, 0, 6, 1))
			askProduce(c, t, 0, numbered(aProducer, 0, 4, 1))
			askProduce(c, t, 0, numbered(aProducer, 0, 0, 1))
		}},
		{name: "the largest sequence number", api: kmsg.Produce, from: 11, run: func(c *client) {
			t := c.topic("t", 1)
			askProduce(c, t, 0, numbered(aProducer, 0, 2147483645, 2))
			askProduce(c, t, 0, numbered(aProducer, 0, 2147483647, 3)) // 2147483647, 0, 1
			askProduce(c, t, 0, numbered(aProducer, 0, 2147483647, 3))
			askProduce(c, t, 0, numbered(aProducer, 0, 0, 2))
			askProduce(c, t, 0, numbered(aProducer, 0, 2, 1))
			askProduce(c, t, 0, numbered(aProducer+1, 0, 2147483647, 1))
			askProduce(c, t, 0, numbered(aProducer+1, 0, 0, 1))
			askProduce(c, t, 0, numbered(aProducer+1, 0, 0, 1))
			readBack(c, t, 8)
		}},
		{name: "a newer epoch", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1)
			askProduce(c, t, 0, numbered(aProducer, 0, 0, 2))
			askProduce(c, t, 0, numbered(aProducer, 1, 2, 1)) // it begins at 0
			askProduce(c, t, 0, numbered(aProducer, 1, 0, 1))
			askProduce(c, t, 0, numbered(aProducer, 1, 0, 1))
			askProduce(c, t, 0, numbered(aProducer, 1, 1, 1))
			askProduce(c, t, 0, numbered(aProducer, 9, 0, 1))
			askProduce(c, t, 0, numbered(aProducer, 32767, 0, 1))
		}},
		{name: "an older epoch", api: kmsg.Produce, run: func(c *client) {
			t := c.topic("t", 1)
			askProduce(c, t, 0, numbered(aProducer, 4, 0, 2))
			askProduce(c, t, 0, numbered(aProducer, 5, 0, 2))
			for _, sequence := range []int32{0, 2, 7} { // what was written at epoch 4 too
				askProduce(c, t, 0, numbered(aProducer, 4, sequence, 2))
			}
			askProduce(c, t, 0, numbered(aProducer, 3, 0, 1))
		}},
		{name: "numbers that are none", api: kmsg.Produce, from: 11, run: func(c *client) {
			t := c.topic("t", 1)
			askProduce(c, t, 0, numbered(aProducer, 0, -1, 1))
			askProduce(c, t, 0, numbered(aProducer, 0, -5, 1))
			askProduce(c, t, 0, numbered(aProducer, -1, 0, 1))
			askProduce(c, t, 0, numbered(aProducer, -1, 1, 1))
			askProduce(c, t, 0, numbered(aProducer, -1, 7, 1))
			askProduce(c, t, 0, numbered(aProducer, -2, 0, 1))
			askProduce(c, t, 0, numbered(aProducer, 0, 0, 1))
			askProduce(c, t, 0, numbered(-1, 0, 0, 1))
			askProduce(c, t, 0, numbered(-1, 0, 0, 1))
			askProduce(c, t, 0, numbered(-2, 0, 5, 1))
			askProduce(c, t, 0, numbered(-1, 3, -1, 1))
		}},
		{name: "with and without numbers", api: kmsg.Produce, from: 11, run: func(c *client) {
			t := c.topic("t", 1)
			askProduce(c, t, 0, numbered(aProducer, 0, 0, 1))
			askProduce(c, t, 0, values("a"))
			askProduce(c, t, 0, numbered(aProducer, 0, 1, 1))
			askProduce(c, t, 0, numbered(aProducer, 0, 0, 1))
		}},
	}
}
