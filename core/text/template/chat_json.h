// SPDX-License-Identifier: Apache-2.0
// The kind of JSON that conversations are given in: members keep their order, as templates print
// them (tojson of a tool), and reading survives running out of memory.
//
// nlohmann::ordered_json keeps members in a vector of pairs that cannot be moved: as it grows, it
// copies them and destroys the originals, which allocates inside destructors. A list never moves
// what it holds.
#pragma once

#include <functional>
#include <initializer_list>
#include <iterator>
#include <list>
#include <nlohmann/json.hpp>
#include <utility>

namespace bp {

// A map in order of insertion as far as nlohmann::basic_json asks for one. Lookup is linear.
template <class Key, class T, class Ignored, class Allocator>
class MemberList : public std::list<std::pair<const Key, T>, Allocator> {
  using List = std::list<std::pair<const Key, T>, Allocator>;

 public:
  using key_type = Key;
  using mapped_type = T;
  using key_compare = std::equal_to<>;
  using iterator = typename List::iterator;
  using const_iterator = typename List::const_iterator;
  using value_type = typename List::value_type;
  using size_type = typename List::size_type;

  MemberList() = default;
  template <class Iterator>
  MemberList(Iterator first, Iterator last, const Allocator& allocator = Allocator())
      : List(first, last, allocator) {}

  template <class K>
  iterator find(const K& key) {
    iterator at = this->begin();
    while (at != this->end() && !(at->first == key)) ++at;
    return at;
  }
  template <class K>
  const_iterator find(const K& key) const {
    const_iterator at = this->begin();
    while (at != this->end() && !(at->first == key)) ++at;
    return at;
  }
  template <class K>
  size_type count(const K& key) const {
    return find(key) == this->end() ? 0 : 1;
  }

  // Adds a member unless there is one of that name; where it is, and whether it was added.
  template <class K, class V>
  std::pair<iterator, bool> emplace(K&& key, V&& value) {
    const iterator found = find(key);
    if (found != this->end()) return {found, false};
    this->emplace_back(std::forward<K>(key), std::forward<V>(value));
    return {std::prev(this->end()), true};
  }
  std::pair<iterator, bool> insert(const value_type& member) {
    return emplace(member.first, member.second);
  }
  template <class K>
  T& operator[](K&& key) {
    return emplace(std::forward<K>(key), T()).first->second;
  }

  using List::erase;
  size_type erase(const Key& key) {
    const iterator found = find(key);
    if (found == this->end()) return 0;
    List::erase(found);
    return 1;
  }
};

using ChatJson = nlohmann::basic_json<MemberList>;

}  // namespace bp
