# SPDX-License-Identifier: Apache-2.0
"""One-line templates that pin the expression language, and the variables they see."""
from typing import Any

VARIABLES: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}],
    "n": 7, "neg": -7, "zero": 0, "big": 9007199254740993, "f": 2.5, "tiny": 1e-7, "huge": 1e22,
    "t": True, "no": False, "none_value": None, "s": "Hello, World", "empty": "", "spaces": "  x \n",
    "u": "Grüße ǆ ß 你好 👍", "sigma": "ΟΔΥΣΣΕΥΣ Σ ΑΣ.", "q": "it's \"q\"", "html": "<b a='1'>&\"",
    "list": [3, 1, 2], "words": ["pear", "Apple", "fig", "apple"], "nested": [[1, [2]], {"a": [None]}],
    "d": {"b": 1, "a": {"x": [10, 20]}, "C": None, "items": "shadow"}, "empty_list": [],
    "empty_dict": {}, "mixed": [1, "a", None, 2.5, True],
    "people": [{"name": "Ann", "age": 31, "tag": {"k": "x"}}, {"name": "bob", "age": 25},
               {"name": "Cid", "age": 31, "tag": {"k": "y"}}],
    "text": "a,b,,c", "para": "line one\nline two\r\n\nlast", "num": "42", "fl": " 3.5e1 ",
}

_EXPRESSIONS = r"""
1 + 2 * 3 - 4 / 2
(1 + 2) * 3
7 // 2
-7 // 2
7 % 3
-7 % 3
7 % -3
-7.5 % 2
7.5 // 2
-7.5 // 2
2 ** 10
2 ** -1
2 ** 3 ** 2
-2 ** 2
2 ** 0.5
0 ** 0
10 / 4
10 / 5
1 / 3
1e3
1.5e-10
1_000
0x1F
0b101
0o17
123456789012
0.1 + 0.2
1e16
1e15
123456.789e3
1e-5
0.0001
3.0
-0.0
100000000000000000000.0
9223372036854775807
n + t
t + t
f * 2
f + n
n * 'ab'
'ab' * 3
'ab' * -1
[1] * 3
3 * [1, 2]
[1] + [2, 3]
(1,) + (2,)
'a' + 'b'
'a' ~ 1 ~ none ~ true ~ 2.0
'a' 'b' "c"
-n
+n
- -n
not n
not not s
n and s
zero and s
zero or s
empty or none_value or 'last'
n > 3
1 < 2 < 3
1 < 3 < 2
3 > 2 == 2
1 == 1.0
1 == true
'1' == 1
'a' < 'b'
'a' < 'B'
[1, 2] < [1, 3]
(1, 2) == (1, 2)
[1, 2] == (1, 2)
{'a': 1} == {'a': 1.0}
none == none
missing == missing
missing == none
missing != 1
'ell' in s
'x' not in s
2 in list
'b' in d
5 not in list
none in [1, none]
'a' in ('a', 'b')
1 in {1: 2}
'x' in missing
[1] in [[1]]
'yes' if n else 'no'
'yes' if zero else 'no'
'yes' if zero
('a' if t else 'b') ~ 'c'
'a' if no else 'b' if no else 'c'
missing
missing is defined
s is defined
missing is undefined
missing or 'dflt'
none_value
none_value is none
missing is none
true
True
false is false
0 is false
none is none
s is string
n is string
n is number
t is number
f is number
n is integer
t is integer
f is float
n is float
t is boolean
n is boolean
d is mapping
list is mapping
list is sequence
s is sequence
d is sequence
n is sequence
list is iterable
n is iterable
d is iterable
missing is iterable
missing is sequence
missing is mapping
none is iterable
(list|map('string')) is iterable
(list|map('string')) is sequence
d.keys() is sequence
d.keys() is iterable
range is callable
s is callable
missing is callable
s.upper is callable
3 is odd
4 is even
-3 is odd
9 is divisibleby 3
9 is divisibleby(2)
s is eq 'Hello, World'
n is equalto 7
n is ne 7
n is gt 3
n is greaterthan 30
n is lt 30
n is le 7
n is ge 8
n is lessthan(7)
n is in [1, 7]
'a' is in 'abc'
t is true
t is false
1 is true
none is sameas none
1 is sameas 1
'abc' is lower
'ABC' is upper
'Abc' is upper
'123' is lower
s|e is escaped
s is escaped
'upper' is filter
'nope' is filter
'odd' is test
n is not none
n is not string and t
not n is none
s is defined and s
s is string or missing.x
s[0]
s[-1]
s[100]
s[1:3]
s[:-1]
s[-3:]
s[::2]
s[::-1]
s[5:1:-1]
s[10:2:-3]
s[100:]
s[:100]
s[-100:2]
s[2:1]
u[3]
u[-1]
u[0:5]
u[::-1]
list[0]
list[-1]
list[1:]
list[::-1]
list[::2]
list[5]
list['x']
(1,2,3)[1:]
range(5)[1]
messages[0].content
messages[0]['role']
messages[-1].role
messages[5]
messages[1:]|length
d.b
d['b']
d.a.x[1]
d['a']['x'][-1]
d.nope
d['nope']
d.C
d.items
d['items']
d.items()|list
d.keys()|list
d.values()|list
d.keys()
d.values()
{'a': 1}.items()
d.get('b')
d.get('nope')
d.get('nope', 'fallback')
d['get']
'abc'['upper']()
nested[0][1][0]
nested[1].a[0]
d.a.x.0
list.0
list|string
d|string
nested
mixed
()
(1,)
(1, 2)
[]
{}
{'a': 'b', 1: 2, none: true}
{'k': [1, (2, 3)]}
['it\'s', "q\"q", 'both\'"', 'new\nline', 'tab\t', 'back\\slash']
['\x00\x7f', 'é', '\u200b', '\U0001F44D', '\xa0']
[u]
[q]
[1.0, 1e100, 1e-7, -0.0, 123456789.123]
[true, none, missing]
range(3)
range(1, 10, 3)
range(5)|list
range(5, 0, -2)|list
range(0)|list
range(3)|length
range(10)[2:5]|list
'a\tb\\n\x41\u00e9\101'
'a\qb'
'line\
join'
"\""
s|upper
s|lower
u|upper
u|lower
u|title
u.title()
u|capitalize
sigma|lower
sigma.lower()
sigma|title
'hello wORLD-foo (bar) [baz]'|title
'hello wORLD it\'s'.title()
'hELLO wORLD'|capitalize
'ǆABC'.capitalize()
'Ab'.swapcase()
spaces|trim
spaces.strip()
spaces.lstrip()
spaces.rstrip()
'xxabcxx'|trim('x')
'xxabcxx'.strip('x')
'xyabcyx'.lstrip('xy')
'xyabcyx'.rstrip('xy')
'\u00a0\u2003x\u3000'.strip()
s|replace('o', '0')
s|replace('o', '0', 1)
s.replace('l', 'L')
s.replace('l', 'L', 2)
'abc'.replace('', '-')
'abc'.replace('', '-', 2)
'aaa'.replace('aa', 'b')
5|replace(5, 6)
text.split(',')
text.split(',', 1)
text.split(',', maxsplit=1)
' a  b '.split()
' a  b c '.split(none, 1)
'a b c'.rsplit(' ', 1)
'a b c'.rsplit(maxsplit=1)
'aaaa'.rsplit('aa', 1)
''.split()
''.split(',')
para.splitlines()
para.splitlines(true)
'a-b-c'.partition('-')
'a-b-c'.rpartition('-')
'abc'.partition('-')
s.startswith('Hell')
s.startswith(('x', 'H'))
s.startswith('ello', 1)
s.endswith('ld')
s.endswith('l', 0, 4)
s.find('o')
s.find('o', 5)
s.find('zz')
s.rfind('o')
u.find('好')
s.index('W')
s.count('l')
s.count('')
'abc'.isalpha()
'ab1'.isalnum()
'123'.isdigit()
'½'.isnumeric()
' '.isspace()
''.isspace()
'Abc Def'.istitle()
'abc'.islower()
'ABC1'.isupper()
'abc'.isascii()
u.isascii()
'x'.center(5)
'x'.center(4, '*')
'x'.ljust(3) ~ '|'
'x'.rjust(3, '.')
'-5'.zfill(4)
'prefix-x'.removeprefix('prefix-')
'x.txt'.removesuffix('.txt')
'a\tb'.expandtabs(4)
', '.join(words)
', '.join(['a'])
''.join([])
'{} and {}'.format('a', 1)
'{0}{1}{0}'.format('a', 'b')
'{x:>5}|{y:<4}|{z:^5}'.format(x=1, y='b', z='c')
'{:.2f} {:5d} {:05d} {:+d} {:,}'.format(3.14159, 42, 42, 42, 1234567)
'{:x} {:X} {:#x} {:b} {:o} {:e} {:g} {:%}'.format(255, 255, 255, 5, 8, 12345.678, 0.00001, 0.25)
'{0[a]} {0.b} {1[0]}'.format({'a': 1, 'b': 2}, [9])
'{!r} {!s}'.format('q', 'q')
'{{}} {}'.format(1)
'{:*^9}'.format('mid')
'{:{w}}'.format('a', w=4) ~ '|'
'{a}'.format_map({'a': 1})
'%s is %d years and %.2f' % ('Ann', 30, 1.5)
'%5d|%-5d|%05d|%+d' % (1, 2, 3, 4)
'%x %X %o %e %g' % (255, 255, 8, 1.5, 0.0001)
'%(a)s-%(b)s' % {'a': 1, 'b': 'x'}
'%s' % 'one'
'%s' % [1, 2]
'%r' % 'one'
'100%%' % ()
'%c%c' % ('a', 98)
'%.3s|' % 'abcdef'
'%s %s'|format('a', 'b')
'%(k)s'|format(k='v')
list|length
s|length
u|length
d|count
missing|length
empty_list|length
list|first
list|last
s|first
s|last
empty_list|first
empty_list|last
missing|first
d|first
list|sort
list|sort(reverse=true)
words|sort
words|sort(case_sensitive=true)
people|sort(attribute='age')|map(attribute='name')|list
people|sort(attribute='age,name', reverse=true)|map(attribute='name')|join(',')
words|unique|list
words|unique(case_sensitive=true)|list
[1, 1.0, true, 2]|unique|list
list|reverse|list
s|reverse
list|join
list|join('-')
people|join(', ', attribute='name')
missing|join(',')
'abc'|join('.')
mixed|join('|')
list|min
list|max
words|min
words|max
empty_list|max
people|max(attribute='age')
list|sum
[0.1, 0.2]|sum
people|sum(attribute='age')
[[1], [2]]|sum(start=[])
list|map('string')|list
words|map('upper')|join(' ')
words|map('replace', 'p', 'P')|list
people|map(attribute='name')|list
people|map(attribute='tag.k')|list
people|map(attribute='tag.k', default='-')|list
[[1,2],[3]]|map(attribute=0)|list
[[1,2],[3]]|map('length')|list
words|map('indent', width=2)|list
empty_list|map('upper')|list
none|map('upper')|list
list|select|list
[0, 1, '', 'a', none]|select|list
[0, 1, '', 'a', none]|reject|list
list|select('odd')|list
list|reject('odd')|list
list|select('gt', 1)|list
list|select('in', [1, 2])|list
list|select('greaterthan', 2)|first
people|selectattr('tag')|map(attribute='name')|list
people|selectattr('age', 'equalto', 31)|map(attribute='name')|list
people|rejectattr('age', 'eq', 31)|map(attribute='name')|list
people|rejectattr('tag')|list
people|selectattr('tag.k', 'defined')|list|length
people|groupby('age')
people|groupby('tag.k', default='none')|map(attribute='grouper')|list
people|groupby('age')|map(attribute='list')|map('length')|list
words|groupby(0)|map('first')|list
d|dictsort
{'b': 2, 'A': 1, 'c': 0}|dictsort
{'b': 2, 'A': 1, 'c': 0}|dictsort(true)
{'b': 2, 'A': 1, 'c': 0}|dictsort(by='value')
{'b': 2, 'A': 1}|dictsort(false, 'key', true)
d|items|list
missing|items|list
range(7)|batch(3)|list
range(7)|batch(3, 'x')|list
range(7)|slice(3)|list
range(7)|slice(3, 'x')|list
range(2)|slice(4)|list
d|list
s|list|length
missing|list
'abc'|list
num|int + 1
'x'|int
'x'|int(5)
'3.9'|int
-3.9|int
'0x1F'|int(base=16)
'ff'|int(0, 16)
'0b11'|int(base=0)
none|int
t|int
' 12_3 '|int
num|float
fl|float
'x'|float(1.5)
'inf'|float
'nan'|float
'-Infinity'|float
none|float
n|float
2.5|round
3.5|round
2.675|round(2)
1234.5|round(-2)
1234|round(-2)
1250|round(-2)
42|round
2.1|round(method='ceil')
2.19|round(1, 'floor')
-2.5|round
-5|abs
-5.5|abs
-n|abs
(-n)|abs
n|string ~ '!'
s|default('x')
missing|default('x')
missing|d
empty|default('x')
empty|default('x', true)
none|default('x')
none|default('x', boolean=true)
missing.attr|default('x')
d.nope|default('x')
html|e
html|escape
html|e|e
html|forceescape
html|e|forceescape
'<' ~ (html|e)
'<' + (html|e)
(html|e) + '<'
html|safe
(html|safe) + '<'
html|safe|e
'a\nb\n\nc'|indent
'a\nb\n\nc'|indent(2, true)
'a\nb\n\nc'|indent(2, blank=true)
'a\nb'|indent('> ', first=true)
'x'|center(5) ~ '|'
'one two-three  four_5'|wordcount
'the quick brown fox'|truncate(10)
'the quick brown fox'|truncate(10, true)
'the quick brown fox'|truncate(12, false, '…', 0)
'short'|truncate(10)
1000|filesizeformat
1500000|filesizeformat
1|filesizeformat
500|filesizeformat
1024|filesizeformat(true)
d|attr('nope')
s|attr('upper')()
list|tojson
d|tojson
u|tojson
u|tojson(ensure_ascii=true)
html|tojson
'\u2028\x7f\x01\n\t"\\/'|tojson
nested|tojson(indent=2)
d|tojson(indent=4)
{'b': 1, 'a': 2}|tojson(sort_keys=true)
{'b': 1, 'a': [1, 2]}|tojson(separators=(',', ':'))
{'b': 1, 'a': [1]}|tojson(indent=1, separators=(' ,', ' : '))
[1.0, 1e22, 1e-7, 2.5, true, none]|tojson
{1: 'a', 2.5: 'b', none: 'c', true: 'd'}|tojson
[]|tojson(indent=2)
{}|tojson
(1, 2)|tojson
'x'|tojson|tojson
missing|tojson
[missing]|tojson
(list|map('string'))|tojson
dict(a=1, b=2)
dict({'a': 1}, b=2)
dict([('x', 1), ('y', 2)])
namespace(a=1).a
namespace(a=1).b
namespace(a=1)
strftime_now('%Y-%m-%d')
strftime_now('%d %b %Y %H:%M:%S %A %B %j %y %p %I %e %-d %-m %%')
strftime_now('%a %U %W %V %G %u %w %T %D %F %R')
raise_exception('custom: ' ~ n)
raise_exception(none)
missing.attr
missing['x']
missing()
missing.attr.more
d.nope.more
d['nope']['more']
list[9].x
list.nope.x
s.nope.x
n.nope.x
none.x
none_value.x.y
none['x']
none[0]
n[1:]
d[1:]
missing[1:]
missing + 1
1 + missing
'a' + missing
missing - 1
-missing
missing < 1
1 < missing
missing|int
missing|float
missing|upper
missing|abs
'a' + 1
1 + 'a'
'a' + none
[1] + 'a'
[1] + (1,)
none + 1
'a' - 'b'
'a' * 'b'
'a' / 2
1 / 0
1 // 0
1 % 0
1.0 / 0
1.0 // 0
1.0 % 0
0 ** -1
1 < 'a'
none < 1
[1] < 1
d < d
1 in 5
1 in 'abc'
1 in none
'a' in 5
n()
s()
none()
d.nope()
list.append(4)
list.append
list.pop()
list.sort()
d.update({})
d.pop('a')
d.setdefault
s.__class__
s.__class__.__mro__
d.__class__.x
list.__init__.__globals__
''.__class__()
n.__class__()
[]['__class__']['x']
list.index(2)
list.index(99)
list.count(1)
(1, 2, 1).count(1)
(1, 2).index(2)
list.copy()
d.copy().b
s.index('zzz')
','.join([1])
','.join(5)
','.join(none)
''.split('')
'a'.split(5)
{}[[]]
{[]: 1}
{'a': 1, 'a': 2}
{1: 'a', true: 'b', 1.0: 'c'}
range(1, 2, 0)
range(1000001)
range('a')
range()
list|join(missing)
5|join
5|list
none|list
none|length
5|length
5|first
none|first
5|sort
mixed|sort
mixed|max
5|map('upper')|list
list|map('nope')|list
list|map|list
list|map(attribute='x', nope=1)|list
list|select('nope')|list
'abc'|map('upper')|join
d|map('upper')|join(',')
d|dictsort(by='nope')
list|dictsort
5|items|list
list|items|list
'x'|round
'x'|abs
list|sum(start='x')
words|sum
list|round
2|round(1, 'nope')
'%d' % 'x'
'%s %s' % 'x'
'%s' % ('a', 'b')
'%d' % 3.99
'%q' % 1
'%(a)s' % 'x'
'%(a)s' % {}
'%' % ()
'{} {}'.format(1)
'{x}'.format()
'{'.format()
'}'.format()
'{:d}'.format('x')
'{:z}'.format(1)
'{0.__class__}'.format(s)
'{0.__class__.__mro__}'.format(s)
'{}{0}'.format(1, 2)
'x'|indent(first=true, width=3)
5|indent
s|replace
s|trim(5)
s.strip(5)
s.replace(1, 2)
s.startswith(1)
s.center()
s.upper(1)
list|unique|length
[[1]]|unique|list
(1, 2) + [3]
loop
self_reference
range
[1, 2, 3][true]
'abc'[true]
{'a': {'b': {'c': 1}}}.a.b.c
[{'a': 1}, {'a': 2}]|map(attribute='a')|sum
words|map('first')|map('upper')|join
(words|select('string')|list)[0]
messages|map(attribute='content')|join(' / ')
messages|selectattr('role', 'equalto', 'user')|list
(messages|selectattr('role', 'equalto', 'user')|first).content
messages[0] == messages|first
messages|tojson
messages
messages[0].items()|map('join', '=')|join('&')
messages[0]|items|list|tojson
s is string and s|length > 3 and not s is none
n|string|length
n|float|string
s ~ (n if n is number else 'none')
[n, s][1]
((n))
( n , )
n if (n is defined and n is not none) else 0
'a' if 'b' in 'abc' and not 'z' in 'abc' else 'c'
d.a.x|join(',')|replace(',', ';')|upper
"a" "b"|upper
not missing
1 if missing is defined else 2
[1,2,3,]
{'a':1,}
'%s' % missing
'%s' % (missing,)
[1, 2]|join(d=', ')
[x for x in list]
lambda: 1
1 +
(1
[1
{1
'unterminated
1 2
a b
}}
foo|
foo|nope
foo is
foo is nope
foo is odd is even
foo.
foo[
foo[]
@
$x
1..2
a = 1
foo(1, a=2, 3)
foo(a=1, b=2, **d)
dict(**d)
dict(**{'a': 1})
dict(*[[('a', 1)]])
range(*[1, 4])|list
range(**{'a': 1})
s.format(**{'a': 1})
9223372036854775807 + 0
u[2:4] ~ u[-2:]
'%s' % u
u.split(' ')
u.upper().lower()
'ŉ'.upper() ~ 'ﬁ'.upper() ~ 'ﬁ'.title() ~ 'İ'.lower()|length
'a' < 'ä' and 'z' < '好'
'x' * n ~ '|'
[3, 1, 2]|sort|reverse|list
(list|reverse)|first
list|sort|last
(1, 'a', none)|string
words|batch(2)|map('join', '+')|join(' ')
range(10)[2:8:3]
range(10)[::-1]
'{:5}|{:<5}|{}'.format(true, false, true)
'{:+}'.format('x')
'{:,}'.format('x')
'{:#}'.format('x')
'x' % list
'x' % d
'x' % 1
'%s' % range(2)
list|sort(attribute='nope')
people|sort(attribute='tag.k')
people|sort(attribute='tag')|length
{'a': missing}|dictsort(by='value')
{'a': missing, 'b': missing}|dictsort(by='value')
"{% if %}"
'}}'
"a" if false
("a" if false) is defined
("a" if false).x
"""

_STATEMENTS = [
    "{% if n %}a{% endif %}b",
    "{% if zero %}a{% elif n == 7 %}b{% else %}c{% endif %}",
    "{% if zero %}a{% elif no %}b{% else %}c{% endif %}",
    "{% for x in list %}{{ x }},{% endfor %}",
    "{% for x in empty_list %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in missing %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in none_value %}{{ x }}{% endfor %}",
    "{% for x in 5 %}{{ x }}{% endfor %}",
    "{% for x in 'aß好' %}[{{ x }}]{% endfor %}",
    "{% for x in d %}{{ x }} {% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}",
    "{% for k, v in d|items %}{{ loop.index }}{{ k }}={{ v }}{{ ',' if not loop.last }}{% endfor %}",
    "{% for a, b in [[1, 2], [3, 4]] %}{{ a }}-{{ b }} {% endfor %}",
    "{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for a, b in [[1]] %}{{ a }}{% endfor %}",
    "{% for a, b in [[1, 2, 3]] %}{{ a }}{% endfor %}",
    "{% for a, b in [5] %}{{ a }}{% endfor %}",
    "{% for a, b in ['xy'] %}{{ a }}.{{ b }}{% endfor %}",
    "{% for x in list %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}"
    "{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}",
    "{% for x in list %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }};{% endfor %}",
    "{% for x in list %}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for x in [1, 1, 2, 2, 1] %}{{ x if loop.changed(x) else '.' }}{% endfor %}",
    "{% for x in list %}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}",
    "{% for x in list %}{{ loop }}{% endfor %}",
    "{% for x in list %}{{ loop.nope }}{{ loop.nope is defined }}{% endfor %}",
    "{% for x in range(10) if x is odd %}{{ x }}{% if not loop.last %},{% endif %}{% endfor %}",
    "{% for x in range(6) if x > 2 %}{{ loop.index }}/{{ loop.length }} {% endfor %}",
    "{% for x in range(3) if x > 5 %}{{ x }}{% else %}nothing{% endfor %}",
    "{% for x in range(3) if missing.y %}{{ x }}{% endfor %}",
    "{% set ns = namespace(hit=false) %}{% for x in range(5) if not ns.hit %}{{ x }}"
    "{% if x == 1 %}{% set ns.hit = true %}{% endif %}{% endfor %}",
    "{% for x in range(9) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}"
    "{% endif %}{{ x }}{% endfor %}",
    "{% for x in [1, 2] %}{% for y in [1, 2, 3] %}{% if y == 2 %}{% break %}{% endif %}{{ x }}{{ y }} "
    "{% endfor %}{{ loop.index }};{% endfor %}",
    "{% for x in [1] %}{% break %}{% else %}else{% endfor %}after",
    "{% for x in [1] %}{% continue %}{% else %}else{% endfor %}after",
    "{% for x in [1, 2] %}{% if x == 2 %}{% break %}{% endif %}{% else %}else{% endfor %}after",
    "{% macro m(caller=none) %}{{ caller is none }}{% endmacro %}{{ m() }}{% call m() %}x{% endcall %}",
    "{% break %}",
    "{% for x in [1] %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
    "{% for x in [[1, [2]], [3]] recursive %}{% if x is iterable %}({{ loop(x) }}){% else %}{{ x }}"
    "{{ loop.depth }}{% endif %}{% endfor %}",
    "{% for x in [1] %}{{ loop([2]) }}{% endfor %}",
    "{% for x in list %}{% set y = x %}{% endfor %}{{ y is defined }}",
    "{% set y = 0 %}{% for x in list %}{% set y = y + x %}{{ y }}{% endfor %}|{{ y }}",
    "{% for x in list %}{% if loop.first %}{% set y = 'set' %}{% endif %}{{ y }}{% endfor %}",
    "{% for loop in list %}{% endfor %}",
    "{% for n in list %}{{ n }}{% endfor %}{{ n }}",
    "{% for x in list|map('string') %}{{ x }}{{ loop.length }}{% endfor %}",
    "{% set g = list|map('string') %}{{ g|list }}{{ g|list }}",
    "{% set g = list|map('string') %}{% for x in g %}{{ x }}{% break %}{% endfor %}{{ g|join }}",
    "{% set x = 1 %}{{ x }}{% set x = x + 1 %}{{ x }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}",
    "{% set a = 1, 2 %}{{ a }}",
    "{% set (a, b) = [3, 4] %}{{ a }}{{ b }}",
    "{% set a, b = 1 %}",
    "{% set x %}  block {{ n }} {% endset %}[{{ x }}]",
    "{% set x | upper | trim %}  block {{ s }} {% endset %}[{{ x }}]",
    "{% set x %}{% set z = 5 %}{{ z }}{% endset %}{{ x }}{{ z is defined }}",
    "{% set ns = namespace(a=1, b=[]) %}{% set ns.a = ns.a + 1 %}{% set ns.c = 'new' %}"
    "{{ ns.a }}{{ ns.b }}{{ ns.c }}{{ ns.d is defined }}",
    "{% set ns = namespace() %}{% set ns.x %}captured{% endset %}{{ ns.x }}",
    "{% set ns = namespace(a=0, b=0) %}{% set ns.a, ns.b = 1, 2 %}{{ ns.a }}{{ ns.b }}",
    "{% set ns = namespace({'a': 5}, b=6) %}{{ ns.a + ns.b }}",
    "{% set ns = namespace(a=1) %}{{ ns['a'] }}",
    "{% set d.x = 1 %}",
    "{% set nothing.x = 1 %}",
    "{% set ns = namespace(a=1) %}{% set ns.self = ns %}{{ ns.self.self.a }}",
    "{% set 1 = 2 %}",
    "{% set none = 2 %}",
    "{% set x.y.z = 2 %}",
    "{% macro m() %}hi{% endmacro %}{{ m() }}{{ m }}",
    "{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }} {{ m(1, 3) }} {{ m(b=5, a=4) }}",
    "{% macro m(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}",
    "{% macro m(a) %}[{{ a }}]{{ a is defined }}{% endmacro %}{{ m() }}",
    "{% macro m(a) %}{{ a.x }}{% endmacro %}{{ m() }}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{% endmacro %}{{ m(b=2) }}",
    "{% macro m(a) %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, 3, k=4) }}",
    "{% macro m(a=1, b) %}{% endmacro %}",
    "{% macro m(x) %}{% if x > 0 %}{{ x }}{{ m(x - 1) }}{% endif %}{% endmacro %}{{ m(5) }}",
    "{% macro m() %}{{ later }}{% endmacro %}{% set later = 'L' %}{{ m() }}",
    "{% macro m() %}{% set inner = 1 %}{% endmacro %}{{ m() }}{{ inner is defined }}",
    "{% macro m() %}{% set n = 1 %}{{ n }}{% endmacro %}{{ m() }}{{ n }}",
    "{% macro m() %}{{ n if n is defined }}{% if n is not defined %}{% set n = 1 %}{% endif %}{{ n }}"
    "{% endmacro %}{{ m() }}",
    "{% macro m() %}<{{ caller() }}>{% endmacro %}{% call m() %}body {{ n }}{% endcall %}",
    "{% macro m() %}{{ caller('x', 2) }}{% endmacro %}{% call(a, b) m() %}{{ a }}{{ b }}{% endcall %}",
    "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}",
    "{% macro m(caller) %}{{ caller() }}{% endmacro %}{% call m() %}x{% endcall %}",
    "{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}",
    "{% macro a(x) %}A{{ b(x) }}{% endmacro %}{% macro b(x) %}B{{ x }}{% endmacro %}{{ a(1) }}",
    "{% macro m() %} x {% endmacro %}[{{ m()|trim }}]{{ m()|length }}{{ m() is string }}",
    "{% macro m() %}{% endmacro %}{{ m.name }}{{ m is callable }}",
    "{% for i in [1, 2] %}{% macro m() %}{{ i }}{% endmacro %}{{ m() }}{% endfor %}",
    "{% filter upper %}text {{ s }}{% endfilter %}",
    "{% filter replace('a', 'b')|upper %}banana{% endfilter %}",
    "{% filter indent(2) %}a\nb{% endfilter %}",
    "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}",
    "{% with %}{% set z = 1 %}{{ z }}{% endwith %}{{ z is defined }}",
    "{% with n = n + 1 %}{{ n }}{% endwith %}{{ n }}",
    "{% raw %}{{ not }} {% parsed %}{% endraw %}after",
    "a{% raw -%}  {{ x }}  {%- endraw %}b",
    "a {# comment #} b",
    "a {#- comment -#} b",
    "{# multi\nline #}\nx",
    "{% generation %}gen {{ n }}{% endgeneration %}!",
    "{% generation %}{% set g = 1 %}{% endgeneration %}{{ g is defined }}",
    "  {% if n %}\n  x\n  {% endif %}\ny",
    "a\n  {%- if n %}\nx\n{%- endif %}\nb",
    "a  {%+ if n %}\nx{% endif %}\nb",
    "a\n  {%+ if n %}\nx{% endif +%}\nb",
    "a\n   {{ n }}\n   {{- n -}}\n   b",
    "{{ n }}\n{{ n }}\n",
    "x\n",
    "x\n\n",
    "\n\nx",
    "{% if n %}\n\nx{% endif %}\n\ny",
    "{% if n -%}\n\n  x  \n\n{%- endif %}y",
    "{% set a = 1 %}   \n{% set b = 2 %}\nz",
    "a\r\nb\rc\n{% if n %}\r\nd{% endif %}\r\n",
    "{{ 'a\r\nb' }}",
    "{%- set a = 1 -%}  {%- set b = 2 -%}  x",
    "   {# c #}   \n  x",
    "a {# c #}\nb",
    "\t{% if n %}\t\nx\t{% endif %}",
    "\u00a0{%- if n %}x{% endif %}",
    "{{- n }}",
    "{{\n n\n}}",
    "{%\nif n\n%}x{%\nendif\n%}",
    "{%if n%}x{%endif%}",
    "{% if n: %}x{% endif %}",
    "{{ {'a': {'b': 1}}['a']['b'] }}",
    "{{ {'a': {}} }}",
    "{{ '}}' }}{{ '%}' }}{{ \"{{\" }}",
    "{ { n } } {n} {",
    "{{ n }}}",
    "%} }} #}",
    "{{",
    "{{ n",
    "{{ n }",
    "{%",
    "{% if",
    "{% if n %}",
    "{% if n %}{% else %}",
    "{% endif %}",
    "{% else %}",
    "{% for %}{% endfor %}",
    "{% for x %}{% endfor %}",
    "{% for x in %}{% endfor %}",
    "{% for x in list %}{% endif %}",
    "{% nope %}",
    "{% %}",
    "{% 1 %}",
    "{#",
    "{# x",
    "{% raw %}",
    "{% raw %}{% endraw",
    "{{ ) }}",
    "{{ (] }}",
    "{{ 'a }}",
    "{{ n if }}",
    "{% set %}",
    "{% set x %}",
    "{% set x = %}",
    "{% macro %}{% endmacro %}",
    "{% macro m %}{% endmacro %}",
    "{% call n %}{% endcall %}",
    "{% filter %}{% endfilter %}",
    "{% filter nope %}x{% endfilter %}",
    "{% if false %}{{ n|nope }}{% endif %}ok",
    "{% if true %}{{ n|nope }}{% endif %}ok",
    "{{ (n|nope) if false else 'ok' }}",
    "{% if false %}{{ n is nope }}{% endif %}ok",
    "{{ raise_exception('stop') if n }}",
    "{% if n %}{{ raise_exception('multi\nline') }}{% endif %}",
    "{{ raise_exception() }}",
    "{{ messages|map(attribute='role')|list }}{% set messages = messages[1:] %}{{ messages|length }}",
    "{% set messages = [] %}{{ messages }}{% macro m() %}{{ messages }}{% endmacro %}{{ m() }}",
    "{% if missing.x is defined %}{% endif %}",
    "{% if d.missing.x is defined %}{% endif %}",
    "{% if not (missing is defined) %}ok{% endif %}",
    "{% if messages[0]['role'] == 'system' %}s{% else %}n{% endif %}",
    "{% if n in [1, 7] and 'x' not in d %}ok{% endif %}",
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}bad{% endif %}"
    "{{ m['role'] + ': ' + m['content'] | trim }}\n{% endfor %}",
    "{% set x = messages|selectattr('role', 'equalto', 'user')|list %}{{ x[-1] == messages[0] }}",
    "{% set content = 'a</think>b'.split('</think>')[-1].lstrip('\\n') %}{{ content }}",
    "{% for i in range(3 - 1, -1, -1) %}{{ i }}{% endfor %}",
    "{% for k, v in d|dictsort %}{{ k }}{% endfor %}",
    "{% set x = {'a': 1} %}{% set _ = x.update({'b': 2}) %}{{ x }}",
    "{% set x = [1] %}{% set _ = x.append(2) %}{{ x }}",
    "{% set x = [1] %}{% if x.append is defined %}y{% else %}n{% endif %}",
    "{{ caller }}",
    "{{ loop.index }}",
    "{{ varargs }}",
    "{% set é = 1 %}{{ é }}",
    "{{ 1 }}{{ '' }}{{ none }}{{ true }}",
    "Ünïcödé {{ u }} ok",
    "{% if n %}a{% endif %}\n\n{% if n %}b{% endif %}\n",
    "line1\n{% for x in list %}\n  - {{ x }}\n{% endfor %}\nend",
    "<{% for x in list -%} {{ x }} {%- endfor %}>",
    "{% for p in people %}{{ p.name }}{% if p.tag %}({{ p.tag.k }}){% endif %}{{ ', ' if not loop.last else '.' }}{% endfor %}",
    "{% set ns = namespace(total=0) %}{% for p in people %}{% set ns.total = ns.total + p.age %}{% endfor %}{{ ns.total }}",
    "{% for g in people|groupby('age') %}{{ g.grouper }}:{% for p in g.list %}{{ p.name }} {% endfor %}{% endfor %}",
    "{% for age, ps in people|groupby('age') %}{{ age }}{{ ps|length }}{% endfor %}",
]

CASES: list[str] = ["{{ " + line + " }}" for line in
                    _EXPRESSIONS.replace("\\\n", "\x00").strip("\n").split("\n")]
CASES = [case.replace("\x00", "\\\n") for case in CASES] + _STATEMENTS

# Failures that every version of Python or Jinja words in its own way; here only that they fail is
# compared. All other messages are compared word for word.
LOOSE: set[str] = {
    "{{ range() }}", "{{ '{} {}'.format(1) }}", "{{ '{:z}'.format(1) }}", "{{ '{}{0}'.format(1, 2) }}",
    "{{ s|replace }}", "{{ s.replace(1, 2) }}", "{{ s.center() }}", "{{ s.upper(1) }}", "{{ {1 }}",
    "{{ 1 2 }}", "{{ foo(a=1, b=2, **d) }}", "{{ range(**{'a': 1}) }}", "{{ 'unterminated }}",
    "{{ @ }}", "{{ $x }}", "{{ 'a }}", "{% break %}",
    "{% for x in [1] %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
    "{{", "{{ n", "{%", "{% if", "{% if n %}", "{% if n %}{% else %}", "{% set x %}",
    "{% for x in list %}{% endif %}",
}
