// What `pgo watch TOPIC --pgo-event-address ADDRESS` of 4.1 does, with the library that it does it with:
// "go-nsq ADDRESS TOPIC" prints each message as the topic, a bar and the body, until it is interrupted.
package main

import (
	"fmt"
	"log"
	"math/rand"
	"os"
	"os/signal"
	"syscall"

	"github.com/nsqio/go-nsq"
)

// As many messages as 4.1's client takes at a time.
const maxInFlight = 200

type printer struct{ topic string }

func (p printer) HandleMessage(message *nsq.Message) error {
	fmt.Printf("%s | %s\n", p.topic, message.Body)
	return nil
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("go-nsq ADDRESS TOPIC")
	}
	address, topic := os.Args[1], os.Args[2]
	// All other settings are the library's: no TLS, no secret.
	config := nsq.NewConfig()
	config.MaxInFlight = maxInFlight
	channel := fmt.Sprintf("tail%06d#ephemeral", rand.Intn(999999))
	log.Printf("Adding consumer for topic: %s", topic)
	consumer, err := nsq.NewConsumer(topic, channel, config)
	check(err)
	consumer.AddHandler(printer{topic})
	check(consumer.ConnectToNSQDs([]string{address}))

	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, syscall.SIGINT, syscall.SIGTERM)
	<-interrupted
	consumer.Stop()
	<-consumer.StopChan
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
