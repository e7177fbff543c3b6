// SPDX-License-Identifier: Apache-2.0
#include "core/text/template/civil_time.h"

#include <array>

namespace bp::jinja {
namespace {

constexpr std::array<std::string_view, 7> kDays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                   "Thursday", "Friday", "Saturday"};
constexpr std::array<std::string_view, 12> kMonths = {
    "January", "February", "March",     "April",   "May",      "June",
    "July",    "August",   "September", "October", "November", "December"};
constexpr int64_t kSecondsPerDay = 86'400;
constexpr int64_t kFirstSecond = -62'135'596'800;  // 0001-01-01
constexpr int64_t kLastSecond = 253'402'300'799;   // 9999-12-31

struct Civil {
  int64_t year = 1970, month = 1, day = 1;  // from 1
  int64_t hour = 0, minute = 0, second = 0;
  int64_t weekday = 0;   // 0 is Sunday
  int64_t year_day = 0;  // from 0
  int64_t epoch = 0;
};

bool is_leap(int64_t year) {
  return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

// Days since 1970 to a date of the Gregorian calendar, counting 400-year eras from March.
Civil civil_of(int64_t seconds) {
  Civil out;
  out.epoch = seconds;
  int64_t days = seconds / kSecondsPerDay;
  int64_t rest = seconds % kSecondsPerDay;
  if (rest < 0) {
    rest += kSecondsPerDay;
    --days;
  }
  out.hour = rest / 3600;
  out.minute = rest / 60 % 60;
  out.second = rest % 60;
  out.weekday = ((days + 4) % 7 + 7) % 7;
  const int64_t shifted = days + 719'468;  // days since 0000-03-01
  const int64_t era = (shifted >= 0 ? shifted : shifted - 146'096) / 146'097;
  const int64_t day_of_era = shifted - era * 146'097;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t month_from_march = (5 * day_of_year + 2) / 153;
  out.day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
  out.month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  out.year = year_of_era + era * 400 + (out.month <= 2 ? 1 : 0);
  static constexpr std::array<int64_t, 12> kBefore = {0,   31,  59,  90,  120, 151,
                                                      181, 212, 243, 273, 304, 334};
  out.year_day = kBefore[static_cast<size_t>(out.month - 1)] + out.day - 1 +
                 (out.month > 2 && is_leap(out.year) ? 1 : 0);
  return out;
}

// ISO 8601 week and the year it belongs to.
std::pair<int64_t, int64_t> iso_week(const Civil& t) {
  const int64_t weekday = (t.weekday + 6) % 7;  // 0 is Monday
  int64_t week = (t.year_day - weekday + 10) / 7;
  if (week < 1) {
    const int64_t days = is_leap(t.year - 1) ? 366 : 365;
    return {t.year - 1, (t.year_day + days - weekday + 10) / 7};
  }
  const int64_t days = is_leap(t.year) ? 366 : 365;
  if (week == 53 && t.year_day - weekday + 3 >= days) return {t.year + 1, 1};
  return {t.year, week};
}

class TimeFormatter {
 public:
  TimeFormatter(const Civil& time, std::string* out) : t_(time), out_(out) {}

  Status format(std::string_view text) {
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '%' || i + 1 == text.size()) {
        out_->push_back(text[i]);
        continue;
      }
      char flag = 0;
      size_t at = i + 1;
      if (text[at] == '-' || text[at] == '_' || text[at] == '0' || text[at] == '^')
        flag = text[at++];
      if (at == text.size()) {
        out_->append(text.substr(i));
        break;
      }
      if (!directive(text[at], flag)) {
        return error(Code::kUnimplemented, "strftime_now() does not know the directive '{}'",
                     text.substr(i, at - i + 1));
      }
      i = at;
    }
    return {};
  }

 private:
  void number(int64_t value, int width, char pad, char flag) {
    const std::string digits = std::to_string(value);
    if (flag == '_') pad = ' ';
    if (flag == '0') pad = '0';
    if (flag != '-' && digits.size() < static_cast<size_t>(width)) {
      out_->append(static_cast<size_t>(width) - digits.size(), pad);
    }
    out_->append(digits);
  }

  void word(std::string_view text, char flag) {
    for (const char c : text) {
      out_->push_back(flag == '^' && c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c);
    }
  }

  // Composites are one level deep by construction.
  void several(std::string_view text) {
    for (const char c : text) {
      if (c >= 'A')
        directive(c, 0);
      else
        out_->push_back(c);
    }
  }

  bool date_directive(char c, char flag) {
    const std::string_view month = kMonths[static_cast<size_t>(t_.month - 1)];
    const std::string_view day = kDays[static_cast<size_t>(t_.weekday)];
    switch (c) {
      case 'Y':
        number(t_.year, 1, '0', flag);
        return true;
      case 'y':
        number(t_.year % 100, 2, '0', flag);
        return true;
      case 'C':
        number(t_.year / 100, 2, '0', flag);
        return true;
      case 'm':
        number(t_.month, 2, '0', flag);
        return true;
      case 'd':
        number(t_.day, 2, '0', flag);
        return true;
      case 'e':
        number(t_.day, 2, ' ', flag);
        return true;
      case 'j':
        number(t_.year_day + 1, 3, '0', flag);
        return true;
      case 'B':
        word(month, flag);
        return true;
      case 'b':
      case 'h':
        word(month.substr(0, 3), flag);
        return true;
      case 'A':
        word(day, flag);
        return true;
      case 'a':
        word(day.substr(0, 3), flag);
        return true;
      case 'u':
        number(t_.weekday == 0 ? 7 : t_.weekday, 1, '0', flag);
        return true;
      case 'w':
        number(t_.weekday, 1, '0', flag);
        return true;
      case 'U':
        number((t_.year_day + 7 - t_.weekday) / 7, 2, '0', flag);
        return true;
      case 'W':
        number((t_.year_day + 7 - (t_.weekday + 6) % 7) / 7, 2, '0', flag);
        return true;
      case 'V':
        number(iso_week(t_).second, 2, '0', flag);
        return true;
      case 'G':
        number(iso_week(t_).first, 1, '0', flag);
        return true;
      case 'g':
        number(iso_week(t_).first % 100, 2, '0', flag);
        return true;
      default:
        return false;
    }
  }

  bool directive(char c, char flag) {
    if (date_directive(c, flag)) return true;
    const int64_t hour12 = t_.hour % 12 == 0 ? 12 : t_.hour % 12;
    switch (c) {
      case 'H':
        number(t_.hour, 2, '0', flag);
        return true;
      case 'k':
        number(t_.hour, 2, ' ', flag);
        return true;
      case 'I':
        number(hour12, 2, '0', flag);
        return true;
      case 'l':
        number(hour12, 2, ' ', flag);
        return true;
      case 'M':
        number(t_.minute, 2, '0', flag);
        return true;
      case 'S':
        number(t_.second, 2, '0', flag);
        return true;
      case 'f':
        out_->append("000000");
        return true;
      case 'p':
        word(t_.hour < 12 ? "AM" : "PM", flag);
        return true;
      case 'P':
        word(t_.hour < 12 ? "am" : "pm", flag);
        return true;
      case 's':
        number(t_.epoch, 1, '0', flag);
        return true;
      case 'z':
      case 'Z':
        return true;
      case '%':
        out_->push_back('%');
        return true;
      case 'n':
        out_->push_back('\n');
        return true;
      case 't':
        out_->push_back('\t');
        return true;
      case 'D':
      case 'x':
        several("m/d/y");
        return true;
      case 'F':
        several("Y-m-d");
        return true;
      case 'T':
      case 'X':
        several("H:M:S");
        return true;
      case 'R':
        several("H:M");
        return true;
      case 'r':
        several("I:M:S p");
        return true;
      case 'c':
        several("a b e H:M:S Y");
        return true;
      default:
        return false;
    }
  }

  const Civil& t_;
  std::string* out_;
};

}  // namespace

Status format_time(std::string_view format, int64_t local_seconds, std::string* out) {
  if (local_seconds < kFirstSecond || local_seconds > kLastSecond) {
    return error(Code::kInvalidArgument,
                 "the time given to the template is not in years 1 to 9999");
  }
  const Civil time = civil_of(local_seconds);
  return TimeFormatter(time, out).format(format);
}

}  // namespace bp::jinja
