"""The scripts of the Valkey store: `gcra` in Lua, and slots as leases in sorted sets.

KEYS: rates, then slots. ARGV: now or "", lease, how long it lasts, number of rates; then what each rate and slot needs.
Times are whole microseconds, which Lua's doubles hold exactly for the next centuries; every key has a time to live.
"""

_BEGIN = """
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000000 + t[2]
end
local lease, lasting, rates = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local function digits(x) return string.format('%.0f', x) end
local function begun(key, period)
  local arrival = tonumber(redis.call('GET', key) or '0')
  return arrival, arrival <= now and now or math.min(arrival, now + 2 * period)
end
local function put(key, arrival)
  if arrival > now then
    redis.call('SET', key, digits(arrival), 'PX', math.ceil((arrival - now) / 1000) + 1000)
  else
    redis.call('DEL', key)
  end
end
"""

TAKE = (
    _BEGIN
    + """
local arrivals, ends, refused, longest = {}, {}, -1, 0
local function numbers(i) return tonumber(ARGV[3*i+2]), tonumber(ARGV[3*i+3]), tonumber(ARGV[3*i+4]) end
for i = 1, rates do
  local limit, period, cost = numbers(i)
  local arrival, from = begun(KEYS[i], period)
  arrivals[i], ends[i] = arrival, from + math.floor(cost * period / limit)
  local wait = ends[i] - now - period
  if wait > 0 and cost > limit then wait = math.huge end
  if wait > longest then refused, longest = i - 1, wait end
end
if refused < 0 then
  for i = 1, #KEYS - rates do
    redis.call('ZREMRANGEBYSCORE', KEYS[rates+i], '-inf', now)
    if redis.call('ZCARD', KEYS[rates+i]) >= tonumber(ARGV[4+3*rates+i]) then
      refused = rates + i - 1
      break
    end
  end
end
local answer = {refused, longest == math.huge and -1 or longest}
for i = 1, rates do
  local limit, period = numbers(i)
  if refused < 0 then
    put(KEYS[i], ends[i])
    arrivals[i] = ends[i]
    answer[2+rates+i] = ends[i]
  elseif arrivals[i] > now + 2 * period then
    put(KEYS[i], now + 2 * period)
  end
  local left = period - math.max(0, arrivals[i] - now)
  answer[2+i] = math.max(0, math.min(limit, math.floor(left * limit / period + 1e-6)))
end
if refused < 0 then
  for i = rates + 1, #KEYS do
    redis.call('ZADD', KEYS[i], digits(now + lasting), lease)
    redis.call('PEXPIRE', KEYS[i], math.ceil(lasting / 1000) + 1000)
  end
end
return answer
"""
)

SETTLE = (
    _BEGIN
    + """
for i = 1, rates do
  local limit, period = tonumber(ARGV[4*i+1]), tonumber(ARGV[4*i+2])
  local units, till = tonumber(ARGV[4*i+3]), tonumber(ARGV[4*i+4])
  local _, from = begun(KEYS[i], period)
  if units >= 0 then
    put(KEYS[i], from + math.floor(units * period / limit))
  else
    put(KEYS[i], from - math.min(math.floor(-units * period / limit), math.max(0, till - now)))
  end
end
for i = rates + 1, #KEYS do redis.call('ZREM', KEYS[i], lease) end
return {}
"""
)

RENEW = (
    _BEGIN
    + """
for i = rates + 1, #KEYS do
  redis.call('ZADD', KEYS[i], 'XX', digits(now + lasting), lease)
  redis.call('PEXPIRE', KEYS[i], math.ceil(lasting / 1000) + 1000)
end
return {}
"""
)
