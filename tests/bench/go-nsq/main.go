// go-nsq, measured as tests/bench measures the clients in Rust: "go-nsq publish|pipeline|consume ADDRESS TOPIC COUNT" prints
// one line: microseconds at the median for publish, messages per second for the others.
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nsqio/go-nsq"
)

// As in tests/bench/src/clients/mod.rs.
const (
	size      = 200
	window    = 5000
	maxFlight = 2500
	handlers  = 4
)

var body = bytes.Repeat([]byte("x"), size)

func main() {
	if len(os.Args) != 5 {
		log.Fatal("go-nsq publish|pipeline|consume ADDRESS TOPIC COUNT")
	}
	count, err := strconv.Atoi(os.Args[4])
	check(err)
	address, topic := os.Args[2], os.Args[3]
	switch os.Args[1] {
	case "publish":
		publish(address, topic, count)
	case "pipeline":
		pipeline(address, topic, count)
	case "consume":
		consume(address, topic, count)
	default:
		log.Fatalf("there is no measurement %q", os.Args[1])
	}
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func producer(address string) *nsq.Producer {
	producer, err := nsq.NewProducer(address, nsq.NewConfig())
	check(err)
	producer.SetLogger(nil, nsq.LogLevelError)
	check(producer.Ping())
	return producer
}

// One after the other, each acknowledged before the next.
func publish(address, topic string, count int) {
	producer := producer(address)
	times := make([]float64, 0, count)
	for range count {
		begun := time.Now()
		check(producer.Publish(topic, body))
		times = append(times, float64(time.Since(begun).Nanoseconds())/1000)
	}
	slices.Sort(times)
	fmt.Println(times[(count-1)/2])
}

// A window of messages under way.
func pipeline(address, topic string, count int) {
	producer := producer(address)
	done := make(chan *nsq.ProducerTransaction, window)
	begun := time.Now()
	for sent := range count {
		if sent >= window {
			check((<-done).Error)
		}
		check(producer.PublishAsync(topic, body, done))
	}
	for range min(count, window) {
		check((<-done).Error)
	}
	fmt.Println(float64(count) / time.Since(begun).Seconds())
}

// Everything in the channel, finished; counted from the first message.
func consume(address, topic string, count int) {
	config := nsq.NewConfig()
	config.MaxInFlight = maxFlight
	consumer, err := nsq.NewConsumer(topic, "bench", config)
	check(err)
	consumer.SetLogger(nil, nsq.LogLevelError)
	var seen atomic.Int64
	first, last := make(chan time.Time, 1), make(chan time.Time, 1)
	handler := nsq.HandlerFunc(func(*nsq.Message) error {
		switch seen.Add(1) {
		case 1:
			first <- time.Now()
		case int64(count):
			last <- time.Now()
		}
		return nil
	})
	consumer.AddConcurrentHandlers(handler, handlers)
	check(consumer.ConnectToNSQD(address))
	begun := <-first
	fmt.Println(float64(count) / (<-last).Sub(begun).Seconds())
}
