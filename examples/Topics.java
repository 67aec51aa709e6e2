// SPDX-License-Identifier: Apache-2.0
//
// Creates and deletes topics for the tests of the examples: the broker's own tool is not among the jars
// that tests/kafka/fetch.sh gets.
//   java -cp 'JARS/*' Topics.java HOST:PORT create PARTITIONS TOPIC... | delete TOPIC...

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;

public final class Topics {
    public static void main(String[] args) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", args[0]))) {
            if (args[1].equals("create")) {
                final int partitions = Integer.parseInt(args[2]);
                final List<NewTopic> topics = Arrays.stream(args).skip(3)
                        .map(name -> new NewTopic(name, Optional.of(partitions), Optional.empty())).toList();
                admin.createTopics(topics).all().get(30, TimeUnit.SECONDS);
            } else {
                admin.deleteTopics(Arrays.stream(args).skip(2).toList()).all().get(30, TimeUnit.SECONDS);
            }
        }
    }
}
